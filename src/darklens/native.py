"""Kernels in C++: compiled on first use with the machine's own compiler, kept in the user's cache, called through ctypes.

Plain C++17 without the headers of any framework compiles in seconds, for exactly the processor it runs on. Where there is no
compiler the caller takes its path in PyTorch or NumPy, which gives the same numbers more slowly; this is said once.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from darklens.files import settle

FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffast-math", "-fopenmp-simd", "-shared", "-fPIC")
COMPILE_TIMEOUT = 300
"""Seconds."""

_log = logging.getLogger("darklens")


def cache_folder() -> Path:
    """Return the folder of compiled kernels: `$XDG_CACHE_HOME/darklens`, by default `~/.cache/darklens`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "darklens"


@functools.cache
def compiler() -> tuple[str, str] | None:
    """Return the path of the C++ compiler (`$CXX`, c++, g++, clang++) and its version; None where there is none."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        path = shutil.which(name) if name else None
        if path:
            done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=COMPILE_TIMEOUT, check=False)
            if done.returncode == 0:
                return path, done.stdout
    return None


@functools.cache
def library(source: Path) -> ctypes.CDLL | None:
    """Compile a C++ file, unless the cache has it, and load it.

    Args:
        source: C++17 file whose functions are `extern "C"`.

    Returns:
        The library; None where it cannot be had (no compiler, a compiler that fails, `DARKLENS_NATIVE=0`), which is logged once.
    """
    if os.environ.get("DARKLENS_NATIVE") == "0":
        return None
    found = compiler()
    if found is None:
        _log.warning("no C++ compiler found, so %s runs in Python, slower; install g++ or clang++", source.stem)
        return None
    try:
        return _load(source, *found)
    except (OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", None) or str(error)
        _log.warning("%s could not be compiled, so it runs in Python, slower: %s", source.name, detail.strip().splitlines()[-1])
        return None


def _load(source: Path, path: str, version: str) -> ctypes.CDLL:
    text = source.read_bytes()
    what = "\n".join((version, _processor(), *FLAGS)).encode()
    folder = cache_folder()
    target = folder / f"{source.stem}-{hashlib.sha256(text + what).hexdigest()[:20]}.so"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=folder) as work:  # two processes may compile at once; either result is whole
            built = Path(work) / target.name
            command = [path, *FLAGS, str(source), "-o", str(built)]
            subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT, check=True)
            settle(built, target)
    return ctypes.CDLL(str(target))


def _processor() -> str:
    """Name the processor: a cache may be shared between machines, a kernel may not."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "CPU part", "Features"))}))
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
