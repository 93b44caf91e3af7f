"""Requests that are mutated: bodies, files, paths, queries; the application runs inside the process that is watched."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzz_cases import Case
from darklens.errors import InputError


class ServerError(AssertionError):
    """The server answered with what is its own fault, or without a sentence."""


@cache
def client() -> Any:
    """Return a client of an application of its own, whose errors are answers."""
    from fastapi.testclient import TestClient

    from darklens.serve import Settings
    from darklens.serve.app import create_app

    found = TestClient(create_app(Settings(runs=("arcnet:common-test",))), "http://127.0.0.1", raise_server_exceptions=False)
    return found.__enter__()  # it lives as long as the process


def settle(response: Any) -> None:
    """Take an answer.

    Raises:
        InputError: it is a refusal in one sentence.
        ServerError: it is neither an answer nor a refusal.
    """
    if response.status_code >= 500 and response.status_code != 503:
        raise ServerError(f"HTTP {response.status_code}: {response.text[:200]}")
    if response.status_code >= 400:
        if not response.text or "Traceback" in response.text:
            raise ServerError(f"HTTP {response.status_code} without a sentence: {response.text[:200]}")
        raise InputError(f"HTTP {response.status_code}: {response.text[:1000]}")


def with_body(url: str) -> Callable[[Path], None]:
    """Return what sends a file as the JSON of a request."""

    def send(path: Path) -> None:
        settle(client().post(url, content=path.read_bytes(), headers={"content-type": "application/json"}))

    return send


def with_file(url: str) -> Callable[[Path], None]:
    """Return what sends a file as an upload, under its own name."""

    def send(path: Path) -> None:
        settle(client().post(url, files={"files": (path.name, path.read_bytes())}))

    return send


NEVER_SENT = ("InvalidURL", "UnsupportedProtocol")
"""What the test client, of one HTTP library or another, calls addresses that it refuses to send."""


def with_path(path: Path) -> None:
    """Ask for what a file names: a path with its query."""
    try:
        settle(client().get("/" + path.read_bytes().decode("latin1").lstrip("/")))
    except Exception as error:
        if isinstance(error, ValueError) or type(error).__name__ in NEVER_SENT:
            raise InputError(f"no client sends this: {error}") from error
        raise


def _image() -> bytes:
    from darklens.simulate import simulate

    buffer = io.BytesIO()
    np.save(buffer, simulate("common-test", 1, seed=5).images()[0])
    return buffer.getvalue()


def _fits() -> bytes:
    from astropy.io import fits

    buffer = io.BytesIO()
    fits.PrimaryHDU(np.load(io.BytesIO(_image()))[0]).writeto(buffer)
    return buffer.getvalue()


def _bench() -> bytes:
    from darklens.serve.bench import Bench

    return Bench().model_dump_json().encode()


def _question() -> bytes:
    return b'{"bench": ' + _bench() + b"}"


REQUESTS = {
    "request-render": Case("body.json", _bench, with_body("/api/render")),
    "request-render-fits": Case("body.json", _bench, with_body("/api/render?format=fits")),
    "request-classify": Case("body.json", _question, with_body("/api/classify")),
    "request-predict": Case("x.npy", _image, with_file("/api/predict")),
    "request-predict-fits": Case("x.fits", _fits, with_file("/api/predict")),
    "request-explain": Case("x.npy", _image, with_file("/api/explain")),
    "request-path": Case("path.txt", lambda: b"api/models?model=arcnet:common-test&hdu=1", with_path),
    "request-page": Case("path.txt", lambda: b"static/../../darklens/errors.py", with_path, refused=True),
}
"""Requests, each with what is sent."""
