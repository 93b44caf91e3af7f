"""Scoring speed, reading and writing included, beside a plain PyTorch DataLoader loop over the same files in the same process.

    python -m benchmarks.score [--device cuda] [--rows 2048] [--repeats 3]     rates, printed
    python -m benchmarks.score --save                                          ... and kept in benchmarks/score.json
    python -m benchmarks.score --memory [--save]                               memory at 10^4 and 10^5 cutouts
    python -m benchmarks.score --million --kills 3                             10^6 cutouts with kills; continues what was begun
    python -m benchmarks.score --write docs/survey.md                          what 10^9 cutouts cost, from benchmarks/score.json

Networks have fresh weights, which are as fast as trained ones. The cutouts are those of the preset `lens-finding`, 3 bands of
64 x 64, rendered once and repeated with fresh noise. Repeats take turns, so that other work on the machine slows both alike.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

import darklens
from benchmarks.score_cost import write_page
from benchmarks.score_table import begin_run, write_table
from darklens.api import ensemble
from darklens.files import plain, write_json
from darklens.train.provenance import commit, machine

MODELS = ("cnn", "resnet18")
RESULTS = Path(__file__).parent / "score.json"
SIZE = 64


class Shards(torch.utils.data.IterableDataset):
    """What a user would write: Parquet files, row group by row group, pixels and names."""

    def __init__(self, table: Path) -> None:
        self.files = sorted(table.glob("part-*.parquet"))
        self.shape = json.loads((table / "manifest.json").read_text())["shape"]

    def __iter__(self) -> Any:
        for file in self.files:
            for batch in pq.ParquetFile(file).iter_batches(256, columns=["id", "image"]):
                pixels = batch["image"].storage.flatten().to_numpy(zero_copy_only=False).reshape(-1, *self.shape)
                yield batch["id"].to_pylist(), torch.from_numpy(pixels.copy())


def peer(network: torch.nn.Module, table: Path, out: Path, device: str, workers: int) -> None:
    """Score a table with a DataLoader loop: batches of 256, min-max as the network wants it, softmax, one file at the end."""
    ids, found = [], []
    network.eval()
    with torch.inference_mode():
        for names, images in torch.utils.data.DataLoader(Shards(table), batch_size=None, num_workers=workers):
            images = images.to(device)
            images = images - images.amin((-2, -1), keepdim=True)
            images = images / images.amax((-2, -1), keepdim=True).clamp_min(1e-30)
            ids += names
            found.append(network(images).softmax(1).cpu())
    probabilities = torch.cat(found).numpy()
    pq.write_table(pa.table({"id": ids, "nonlens": probabilities[:, 0], "lens": probabilities[:, 1]}), out)


def rate(model: str, table: Path, rows: int, device: str, repeats: int, work: Path) -> dict:
    """Return images/s of a model and of the peers, and bytes in and out."""
    judge = ensemble([begin_run(work / model, model, SIZE)], device=device)
    seconds: dict[str, list[float]] = {"darklens": [], "dataloader": [], "dataloader, 1 worker": []}
    out = work / "scores"
    for repeat in range(repeats + 1):  # the first warms up caches and is not counted
        for name in seconds:
            shutil.rmtree(out, ignore_errors=True)
            start = time.perf_counter()
            if name == "darklens":
                darklens.score(judge, table, out)
            else:
                peer(judge.network, table, work / "peer.parquet", str(judge.device), int("worker" in name))
            if repeat:
                seconds[name].append(time.perf_counter() - start)
            if name == "darklens":
                size_out = sum(file.stat().st_size for file in out.glob("part-*"))
    ratios = [min(pair) / own for own, *pair in zip(*seconds.values(), strict=True)]
    return {
        "model": model,
        "device": device,
        "accelerator": machine()["accelerator"] if device == "cuda" else None,
        "threads": torch.get_num_threads(),
        "shape": [3, SIZE, SIZE],
        "rows": rows,
        "repeats": repeats,
        "images_s": {name: rows / statistics.median(times) for name, times in seconds.items()},
        "best_images_s": {name: rows / min(times) for name, times in seconds.items()},
        "ratio_to_the_faster_dataloader": statistics.median(ratios),
        "bytes_in": sum(file.stat().st_size for file in table.glob("part-*")) / rows,
        "bytes_out": size_out / rows,
    }


def about() -> dict:
    """Return where and when a figure was measured."""
    return {"machine": machine(), "commit": commit(), "date": time.strftime("%Y-%m-%d", time.gmtime())}


def keep(section: str, rows: list[dict], key: tuple[str, ...]) -> None:
    """Enter rows in the results, in the place of those with the same key."""
    content = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    old = [row for row in content.get(section, []) if all(any(row.get(k) != new.get(k) for k in key) for new in rows)]
    content[section] = sorted([*old, *rows], key=lambda row: [str(row.get(k)) for k in key])
    write_json(RESULTS, plain(content))


def rates(arguments: argparse.Namespace) -> None:
    """Measure and print the rates."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        table = write_table(work / "table", arguments.rows, SIZE)
        found = []
        for model in arguments.models:
            found.append(rate(model, table, arguments.rows, arguments.device, arguments.repeats, work) | about())
            print(json.dumps(found[-1]), flush=True)
    if arguments.save:
        keep("rates", found, ("model", "device", "threads"))


def memory(arguments: argparse.Namespace) -> None:
    """Measure and print the memory of the process at several sizes."""
    from benchmarks.score_million import survey

    found = []
    with tempfile.TemporaryDirectory() as folder:
        for n in (10_000, 100_000):
            found.append(survey(Path(folder), n, kills=0, size=32, model=arguments.models[0], device=arguments.device) | about())
            print(json.dumps(found[-1]), flush=True)
            shutil.rmtree(Path(folder) / f"table-{n}")
    if arguments.save:
        keep("surveys", found, ("rows", "model", "device"))


def million(arguments: argparse.Namespace) -> None:
    """Score 10^6 cutouts with kills, continue what was begun, and keep what came of it."""
    from benchmarks.score_million import survey

    n = int(arguments.n)
    found = survey(arguments.folder, n, kills=arguments.kills, size=32, model=arguments.models[0], device=arguments.device)
    print(json.dumps(found | about()))
    keep("surveys", [found | about()], ("rows", "model", "device"))


def main() -> None:
    """Measure, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--n", type=float, default=1e6)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("runs/survey-benchmark"))
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    if arguments.write:
        write_page(RESULTS, arguments.write)
    elif arguments.million:
        million(arguments)
    elif arguments.memory:
        memory(arguments)
    else:
        rates(arguments)


if __name__ == "__main__":
    sys.exit(main())
