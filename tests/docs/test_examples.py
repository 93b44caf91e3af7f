"""The blocks of README and docs do what they say: each page in a folder of its own, from top to bottom."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.blocks import PAGES, blocks, name_of

SECONDS_AT_MOST = 900
RUNNABLE = [page for page in PAGES if any(b.language in ("bash", "python") and b.why_not is None for b in blocks(page))]


def smaller(line: str) -> str:
    """Return a command with the sizes of a trial: a training is that of the recipe's own `tiny`."""
    return f"{line.partition('  #')[0]} --set tiny=true" if line.startswith("darklens train") and "tiny=true" not in line else line


def script(page: Path) -> str:
    """Return a page as one shell script."""
    lines = ["set -e", 'darklens() { "$PYTHON" -m darklens "$@"; }']
    for number, block in enumerate(blocks(page)):
        if block.why_not is None and block.language == "bash":
            lines += [smaller(line) for line in block.code.splitlines()]
        elif block.why_not is None and block.language == "python":
            code = block.code.replace('set=["tiny=true"])  # a run folder; drop tiny for the real thing', 'set=["tiny=true"])')
            lines += [f"cat > block-{number}.py <<'END_OF_BLOCK'", code, "END_OF_BLOCK", f'"$PYTHON" block-{number}.py']
    return "\n".join(lines)


def prepare(page: Path, folder: Path) -> None:
    """Put there what README speaks of: images of the reader's."""
    if page.name != "README.md":
        return
    for name, seed in (("my_lenses", 1), ("new_images", 2)):
        words = ["simulate", "model-iii", "--n", "48", "--seed", str(seed), "--out", f"tables/{name}"]
        for command in (words, ["export", f"tables/{name}", "--layout", "deeplense", "--out", name]):
            subprocess.run([sys.executable, "-m", "darklens", *command], cwd=folder, check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNABLE, ids=name_of)
def test_every_block_runs(page, tmp_path):
    prepare(page, tmp_path)
    environment = os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    found = subprocess.run(
        ["bash", "-c", script(page)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SECONDS_AT_MOST
    )
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-4000:]
