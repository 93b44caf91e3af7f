"""What this machine can do, what it lacks, and how to train on it, in plain words."""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from typing import Any

from darklens import native
from darklens.train.provenance import provenance

OPTIONAL = {
    "ray": ("simulation and prediction on a cluster", "cluster"),
    "transformers": ("stock backbones and models of a hub", "zoo"),
    "optuna": ("darklens tune", "tune"),
    "onnx": ("export to ONNX", "onnx"),
    "onnxscript": ("export to ONNX", "onnx"),
    "onnxruntime": ("checking ONNX files", "onnx"),
    "lenstronomy": ("oracle in tests", "test"),
    "caustics": ("oracle in tests", "test"),
}
USEFUL = 1.3
"""Factor that more threads, or bf16, have to bring, to be worth it."""


def examine() -> dict[str, Any]:
    """Return versions, machine, devices, compiler, free disk, what is missing, and advice; JSON-ready."""
    import torch

    from darklens.train.precision import FORMATS

    facts, found = provenance(), native.compiler()
    free = shutil.disk_usage(".").free / 2**30
    devices = ["cpu"] + [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    missing = [f"{name}: {why}" for name, (why, _) in OPTIONAL.items() if importlib.util.find_spec(name) is None]
    remedies = sorted({extra for name, (_, extra) in OPTIONAL.items() if importlib.util.find_spec(name) is None})
    threads, bf16, job = threads_worth(), bf16_worth(), slurm()
    advice = [] if len(devices) > 1 else ["no GPU was found: training runs on the processor"]
    advice += _on_speed(threads, bf16, len(devices) > 1)
    advice += [] if found else ["no C++ compiler was found: rendering and fits run in PyTorch, slower; install g++ or clang++"]
    advice += [f"only {free:.0f} GiB of disk are free here"] if free < 5 else []
    advice += [f'what is missing comes with pip install "darklens[{",".join(remedies)}]"'] if remedies else []
    return {
        "versions": facts["versions"],
        "commit": facts["commit"],
        "machine": facts["machine"],
        "devices": devices,
        "memory_free_gib": memory(),
        "threads": threads,
        "bf16": bf16,
        "number_formats": list(FORMATS),
        "slurm": job,
        "compiler": found[0] if found else None,
        "kernels": str(native.cache_folder()),
        "free_disk_gib": round(free, 1),
        "missing": missing,
        "training": suggestion(job),
        "advice": advice,
    }


def memory() -> dict[str, float]:
    """Return free memory in GiB: the processor's, and each graphics card's."""
    import torch

    found = {}
    if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        found["cpu"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") / 2**30
    for index in range(torch.cuda.device_count()):
        found[f"cuda:{index}"] = torch.cuda.mem_get_info(index)[0] / 2**30
    return {name: round(value, 1) for name, value in found.items()}


def cores() -> tuple[int, int]:
    """Return logical processors that this process may use, and the physical cores behind them, as far as can be known."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    physical = set()
    for index in usable:
        try:
            with open(f"/sys/devices/system/cpu/cpu{index}/topology/thread_siblings_list") as file:
                physical.add(file.read().strip())
        except OSError:
            return len(usable), len(usable)
    return len(usable), len(physical)


def threads_worth() -> dict[str, Any]:
    """Return logical and physical cores, PyTorch's threads, and how much faster they make a convolution than one thread does."""
    import torch

    number = torch.get_num_threads()
    logical, physical = cores()
    gain = None
    if number > 1:
        many = _convolution_s(torch.float32)
        torch.set_num_threads(1)
        try:
            gain = round(_convolution_s(torch.float32) / many, 2)
        finally:
            torch.set_num_threads(number)
    return {"logical_cores": logical, "physical_cores": physical, "used_by_torch": number, "gain_over_one": gain}


def bf16_worth() -> dict[str, Any]:
    """Return how much faster than float32 bf16 is, on the first graphics card or else on the processor, as measured."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    seconds = [_convolution_s(dtype, device) for dtype in (torch.float32, torch.bfloat16)]
    return {"device": device, "gain_over_float32": round(seconds[0] / seconds[1], 2)}


def _convolution_s(dtype: Any, device: str = "cpu") -> float:
    """Return the seconds of a convolution as networks have them, the fastest of three."""
    import torch

    layer = torch.nn.Conv2d(32, 32, 3, padding=1, device=device, dtype=dtype)
    layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    images = torch.ones(8, 32, 32, 32, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    times = []
    with torch.inference_mode():
        for _ in range(4):
            start = time.perf_counter()
            layer(images)
            if device == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
    return min(times[1:])


def slurm() -> dict[str, int] | None:
    """Return what a SLURM job has, None outside of one."""
    if "SLURM_JOB_ID" not in os.environ:
        return None
    names = {
        "job": "SLURM_JOB_ID",
        "nodes": "SLURM_JOB_NUM_NODES",
        "tasks": "SLURM_NTASKS",
        "tasks_per_node": "SLURM_NTASKS_PER_NODE",
    }
    return {key: int(value) for key, name in names.items() if (value := os.environ.get(name, "")).isdigit()}


def suggestion(job: dict[str, int] | None) -> dict[str, Any]:
    """Return how to train here: options of `darklens train`, images at once, and processes that prepare images."""
    import torch

    cards = torch.cuda.device_count()
    nodes = (job or {}).get("nodes", 1)
    options = [f"--devices {cards}"] if cards > 1 else []
    options += [f"--nodes {nodes}"] if nodes > 1 else []
    launch = "srun " if job and nodes * max(cards, 1) > 1 else ""
    return {
        "command": " ".join([f"{launch}darklens train RECIPE", *options, *(["--set train.micro_batch=auto"] if cards else [])]),
        "images_at_once": "auto: what fits is measured" if cards else "the whole batch; --set train.micro_batch=auto measures",
        "loader_processes": "none: images lie in memory or are drawn by a thread of each training process",
    }


def _on_speed(threads: dict[str, Any], bf16: dict[str, Any], accelerated: bool) -> list[str]:
    used, physical, gain = threads["used_by_torch"], threads["physical_cores"], threads["gain_over_one"]
    advice = []
    if gain is not None and gain < USEFUL:
        advice.append(f"{used} threads are only {gain:.2f} times as fast as one: set OMP_NUM_THREADS=1, and run two things at once")
    elif used > physical:
        advice.append(f"PyTorch uses {used} threads on {physical} physical cores: try OMP_NUM_THREADS={physical}")
    if bf16["gain_over_float32"] < 1:
        advice.append(
            f"bf16 is slower than float32 here ({bf16['gain_over_float32']:.2f} times its speed): leave precision at auto"
        )
    elif bf16["gain_over_float32"] > USEFUL and not accelerated:
        advice.append(f"bf16 is {bf16['gain_over_float32']:.2f} times as fast as float32 here: precision auto will take it")
    return advice
