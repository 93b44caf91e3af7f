import ctypes
import logging

import pytest

from darklens import native

pytestmark = pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler on this machine")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("DARKLENS_NATIVE", raising=False)
    for function in (native.compiler, native.library):
        function.cache_clear()
    yield
    for function in (native.compiler, native.library):
        function.cache_clear()


def write(tmp_path, value, name="answer.cpp"):
    source = tmp_path / name
    source.write_text(f'extern "C" int answer() {{ return {value}; }}\n')
    return source


def test_compiled_once_and_again_when_the_source_changes(tmp_path):
    source = write(tmp_path, 41)
    assert native.library(source).answer() == 41
    built = list(native.cache_folder().iterdir())
    assert [p.suffix for p in built] == [".so"]
    stamp = built[0].stat().st_mtime_ns
    native.library.cache_clear()
    assert isinstance(native.library(source), ctypes.CDLL)
    assert built[0].stat().st_mtime_ns == stamp
    native.library.cache_clear()
    assert native.library(write(tmp_path, 42)).answer() == 42
    assert len(list(native.cache_folder().iterdir())) == 2


def test_no_compiler_is_said_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    source = write(tmp_path, 1)
    with caplog.at_level(logging.WARNING, logger="darklens"):
        assert native.library(source) is None
        assert native.library(source) is None
    message = "no C++ compiler found, so answer runs in Python, slower; install g++ or clang++"
    assert [r.message for r in caplog.records] == [message]


def test_a_compiler_that_fails_is_said_and_leaves_nothing(tmp_path, caplog):
    source = tmp_path / "broken.cpp"
    source.write_text("this is not C++\n")
    with caplog.at_level(logging.WARNING, logger="darklens"):
        assert native.library(source) is None
    assert "broken.cpp could not be compiled" in caplog.text
    assert list(native.cache_folder().iterdir()) == []


def test_it_can_be_switched_off(tmp_path, monkeypatch):
    monkeypatch.setenv("DARKLENS_NATIVE", "0")
    assert native.library(write(tmp_path, 1)) is None
