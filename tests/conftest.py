import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of third-party images beside the checkout; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("DARKLENS_SHARED_DATA", CHECKOUT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no third-party images at {folder}; set DARKLENS_SHARED_DATA to the folder that holds them")
    return folder
