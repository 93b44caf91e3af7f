"""What a large table costs: core-hours, bytes and files, computed from measured rates.

    python -m benchmarks.cost --measure docs/cluster-rates.json    measure on one core of this machine (a minute)
    python -m benchmarks.cost docs/cluster-rates.json              print the table
    python -m benchmarks.cost docs/cluster-rates.json --write docs/cluster.md

`--write` puts the table between the two marks of the page; no figure in it is typed by hand.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch

from darklens.files import plain, write_atomic, write_json
from darklens.simulate import PRESETS
from darklens.simulate.write import rows_per_shard, write_rows
from darklens.train.provenance import commit, machine

PRESET_NAMES = ("model-iii-noisy", "model-ii-noisy", "subhalos", "common-test", "model-i")
CORES = 128
ROWS = 1024
SECONDS = 8.0
"""How long a preset is measured."""
BEGIN, END = "<!-- cost: begin -->", "<!-- cost: end -->"


def measure(name: str) -> dict:
    """Make shards of a preset on one thread: drawing, rendering, noise, compression, checksum and writing, as a worker does."""
    preset, rows, bytes_, first = PRESETS[name], 0, 0, ROWS
    with tempfile.TemporaryDirectory() as work:
        write_rows(preset, 0, 0, 16, Path(work) / "warm")  # compilation is paid once a machine, not once a shard
        start = time.perf_counter()
        while time.perf_counter() - start < SECONDS:
            out = Path(work) / str(first)
            made = write_rows(preset, 0, first, ROWS, out)
            rows, first = rows + ROWS, first + ROWS
            bytes_ += (out / made["shards"][0]["file"]).stat().st_size
        seconds = time.perf_counter() - start
    return {
        "preset": name,
        "shape": list(preset.shape),
        "rows": rows,
        "images_per_core_s": rows / seconds,
        "bytes_per_image": bytes_ / rows,
    }


def cost(rate: dict, n: int) -> dict:
    """Return what n images of a measured preset cost."""
    size = rows_per_shard(n)
    hours = n / rate["images_per_core_s"] / 3600
    return {
        "core_hours": hours,
        "hours": hours / CORES,
        "bytes": n * rate["bytes_per_image"],
        "files": -(-n // size),
        "rows_per_file": size,
        "minutes_per_file": size / rate["images_per_core_s"] / 60,
    }


def page(rates: dict, n: int) -> str:
    """Return the table as Markdown."""
    where = rates["machine"].get("processor") or "unknown processor"
    lines = [
        f"{n:,} images; rates of one thread of {where}, commit {rates['commit'] or 'unknown'}, {rates['date']}.",
        "",
        f"| preset | pixels | images/s a core | core-hours | hours on {CORES} cores | GB | shards | rows a shard "
        "| minutes a shard |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for rate in rates["rates"]:
        c, (height, width) = cost(rate, n), rate["shape"]
        cells = (
            rate["preset"],
            f"{height} x {width}",
            f"{rate['images_per_core_s']:,.0f}",
            f"{c['core_hours']:,.1f}",
            f"{c['hours']:.2f}",
            f"{c['bytes'] / 1e9:,.0f}",
            f"{c['files']:,}",
            f"{c['rows_per_file']:,}",
            f"{c['minutes_per_file']:.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print or write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rates", type=Path)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--n", type=float, default=1e8)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    if arguments.measure:
        torch.set_num_threads(1)
        found = [measure(name) for name in PRESET_NAMES if name in PRESETS]
        about = {"machine": machine(), "commit": commit(), "date": time.strftime("%Y-%m-%d", time.gmtime())}
        write_json(arguments.rates, plain(about | {"rates": found}))
    text = page(json.loads(arguments.rates.read_text()), int(arguments.n))
    if arguments.write is None:
        print(text)
        return
    old = arguments.write.read_text()
    before, after = old.split(BEGIN)[0], old.split(END)[1]
    write_atomic(arguments.write, f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
