"""Execute the notebooks and keep what they print and draw: `make notebooks`; the names of some execute only these."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
SECONDS_AT_MOST = 1800
DATA = "DARKLENS_SHARED_DATA"
"""Where the images of real lenses are that a notebook may ask for."""


def executed(path: Path, folder: Path) -> nbformat.NotebookNode:
    """Execute a notebook in a folder and return it.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raises.
    """
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=SECONDS_AT_MOST, kernel_name="python3", resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran; everything else is the same each time
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return notebook


def main() -> None:
    """Execute and write back."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for path in sorted(FOLDER.glob("*.ipynb")):
        if len(sys.argv) == 1 or path.stem in sys.argv[1:]:
            if DATA in path.read_text(encoding="utf-8") and DATA not in os.environ:
                print(f"{path.name} stays as it is: it needs images that do not come along; set {DATA} to their folder")
                continue
            with tempfile.TemporaryDirectory() as folder:
                nbformat.write(executed(path, Path(folder)), path)
            print(path.name)


if __name__ == "__main__":
    main()
