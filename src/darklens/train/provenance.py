"""Where a result comes from: versions, commit, machine, device."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import torch

PACKAGES = ("darklens", "torch", "numpy", "lightning-fabric", "pyarrow", "scikit-learn", "astropy")


def provenance() -> dict:
    """Return versions, commit, machine and command line, JSON-ready."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command(),
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in PACKAGES},
        "commit": commit(),
        "machine": machine(),
    }


def command() -> str:
    """Return how this process was called, as one would type it again."""
    first, spec = Path(sys.argv[0]), getattr(sys.modules.get("__main__"), "__spec__", None)
    called = f"python -m {spec.name}" if spec else first.name
    return " ".join([first.parent.name if first.name == "__main__.py" else called, *map(shlex.quote, sys.argv[1:])])


def machine() -> dict:
    """Return processor, cores, memory and accelerator of this machine."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
        if hasattr(os, "sysconf")
        else None,
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def commit() -> str | None:
    """Return the git commit of the darklens checkout that is running, with "+changes" if it is dirty; None outside a checkout."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True, timeout=10)
        dirty = subprocess.run(
            ["git", "status", "--porcelain", "-uno"], cwd=here, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+changes" if dirty.stdout.strip() else "")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"
