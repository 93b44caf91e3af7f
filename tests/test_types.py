import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_types_are_right_all_over_the_package():
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=root, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
