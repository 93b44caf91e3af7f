"""Images a second of the networks, in training and in prediction, beside ResNet-18 in the same process.

    python -m benchmarks.networks [MODEL ...] [--set frames=one] [--shape 1,64,64] [--batch 64] [--repeats 5] [--threads 1]
        [--device cpu]

A network and ResNet-18 take turns, so that a busy machine slows both; ratios are medians over the turns. `arcnet` gets its five
bands of evidence at the same number of pixels. What comes before a network, the smooth fit and the matched filters, is measured by
`benchmarks.fit` and `darklens predict`. One JSON line a network.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
import yaml
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from darklens.fit.evidence import CHANNELS
from darklens.models import build, models_for
from darklens.train.provenance import provenance

REFERENCE = "resnet18"
LEARNING_RATE = 1e-4


def prepared(name: str, shape: tuple[int, int, int], device: str, options: dict | None = None) -> tuple[nn.Module, int]:
    """Return a network and the number of bands that it sees."""
    bands = len(CHANNELS) if name == "arcnet" else shape[0]
    network = build(name, bands=bands, classes=3, size=shape[1:], pixel_scale=0.05, seed=0, **(options or {}))
    return network.to(device), bands


def training(network: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], None]:
    """Return one step of training: forward, backward, AdamW."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)

    def step() -> None:
        network.train()
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(network(images), labels).backward()
        optimizer.step()

    return step


def prediction(network: nn.Module, images: Tensor) -> Callable[[], None]:
    """Return one forward pass as it is used to predict."""

    def step() -> None:
        network.eval()
        with torch.inference_mode():
            network(images)

    return step


def seconds(step: Callable[[], None], device: str) -> float:
    """Return the wall time of a step."""
    start = time.perf_counter()
    step()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(name: str, shape: tuple[int, int, int], batch: int, repeats: int, device: str, options: dict | None = None) -> dict:
    """Return rates of a network and their ratio to ResNet-18's, medians over turns."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (batch,), generator=generator).to(device)
    found: dict[str, dict] = {}
    steps: dict[str, dict[str, Callable[[], None]]] = {}
    for who in dict.fromkeys((name, REFERENCE)):
        network, bands = prepared(who, shape, device, options if who == name else None)
        images = torch.rand((batch, bands, *shape[1:]), generator=generator).to(device)
        steps[who] = {"train": training(network, images, labels), "predict": prediction(network, images)}
        found[who] = {"parameters": sum(p.numel() for p in network.parameters())}
    rates = {}
    for kind in ("train", "predict"):
        turns = []
        for turn in range(repeats + 1):  # the first warms up
            times = {who: seconds(of[kind], device) for who, of in steps.items()}
            turns += [times] if turn else []
        ratio = statistics.median(t[REFERENCE] / t[name] for t in turns)
        rates[kind] = {
            "images_per_s": round(batch / statistics.median(t[name] for t in turns), 1),
            "best": round(batch / min(t[name] for t in turns), 1),
            "resnet18_images_per_s": round(batch / statistics.median(t[REFERENCE] for t in turns), 1),
            "ratio": round(ratio, 2),
        }
    return {"model": name, **({"options": options} if options else {}), **found[name], **rates}


def main(arguments: list[str]) -> int:
    """Measure the networks that are named, all by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(models_for('classification'))}; all by default")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="option of the networks")
    parser.add_argument("--shape", default="1,64,64", help="bands, rows, columns")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    shape = tuple(int(n) for n in options.shape.split(","))
    made = provenance()
    settings = {key: yaml.safe_load(value) for key, _, value in (setting.partition("=") for setting in options.set)}
    for name in options.models or models_for("classification"):
        row = compare(name, shape, options.batch, options.repeats, options.device, settings)
        about = {"shape": shape, "batch": options.batch, "threads": options.threads, "device": options.device}
        print(json.dumps(row | about | {"machine": made["machine"], "commit": made["commit"], "date": made["date"]}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
