"""What this machine can do, and what it lacks, in plain words."""

from __future__ import annotations

import importlib.util
import shutil
from typing import Any

from darklens import native
from darklens.train.provenance import provenance

OPTIONAL = {
    "ray": "simulation on a cluster (extra [cluster])",
    "lenstronomy": "oracle in tests (extra [test])",
    "caustics": "oracle in tests (extra [test])",
}


def examine() -> dict[str, Any]:
    """Return versions, machine, devices, compiler, free disk and what is missing; JSON-ready."""
    import torch

    from darklens.train.precision import FORMATS

    facts, found = provenance(), native.compiler()
    free = shutil.disk_usage(".").free / 2**30
    devices = ["cpu"] + [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    missing = [f"{name}: {why}" for name, why in OPTIONAL.items() if importlib.util.find_spec(name) is None]
    advice = [] if len(devices) > 1 else ["no GPU was found: training runs on the processor"]
    advice += [] if found else ["no C++ compiler was found: rendering and fits run in PyTorch, slower; install g++ or clang++"]
    advice += [f"only {free:.0f} GiB of disk are free here"] if free < 5 else []
    return {
        "versions": facts["versions"],
        "commit": facts["commit"],
        "machine": facts["machine"],
        "devices": devices,
        "number_formats": list(FORMATS),
        "compiler": found[0] if found else None,
        "kernels": str(native.cache_folder()),
        "free_disk_gib": round(free, 1),
        "missing": missing,
        "advice": advice,
    }
