"""The six notebooks run from top to bottom, and keep small pictures of their last run."""

import base64
import os
import sys
from pathlib import Path

import nbformat
import pytest
from docs.theme.notebooks import FOLDER, executed

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
BYTES_AT_MOST = 300_000


def pictures(notebook):
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                yield cell, base64.b64decode(output["data"]["image/png"])


def test_there_are_six():
    assert [path.name[0] for path in NOTEBOOKS] == list("123456")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_whole(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.cells[0].source.startswith(f"# {path.name[0]} ")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            compile(cell.source, path.name, "exec")
            assert not [output for output in cell.outputs if output.output_type == "error"]
    for cell, picture in pictures(notebook):
        assert len(picture) < BYTES_AT_MOST
        assert cell.metadata.get("alt"), "a picture without a description"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_keeps_the_pictures_of_its_last_run(path):
    assert list(pictures(nbformat.read(path, as_version=4)))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, request, monkeypatch):
    if "DARKLENS_SHARED_DATA" in path.read_text():
        monkeypatch.setenv("DARKLENS_SHARED_DATA", str(request.getfixturevalue("shared_data")))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert list(pictures(executed(path, tmp_path)))
