import pytest

pytest.importorskip("fastapi", reason="serving needs the extra darklens[serve]")

from fastapi.testclient import TestClient

from darklens.serve import Limits, Settings
from darklens.serve.app import create_app
from darklens.simulate import simulate

HERE = "http://127.0.0.1"


@pytest.fixture(scope="session")
def lenses():
    """Images as in the common test: no, sphere, vort."""
    return simulate("common-test", 3, seed=5).image_array()


@pytest.fixture(scope="session")
def client():
    settings = Settings(
        runs=("arcnet:common-test",),
        limits=Limits(upload_bytes=1 << 20, body_bytes=1 << 14, images=8, pixels=1 << 20, fitted=1 << 17),
    )
    with TestClient(create_app(settings), base_url=HERE) as found:
        yield found
