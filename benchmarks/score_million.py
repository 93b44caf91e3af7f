"""A survey scored by the command line, killed at random points, and counted: rows lost, rows doubled, memory, time.

The folder keeps the table, the run, the scores and `survey-N.json`, the kills and seconds so far: whatever interrupts this script,
the same command goes on.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.score_table import begin_run, write_table
from darklens.data.parts import part_size
from darklens.data.scores import part_number, read_bad, read_scores
from darklens.files import read_json, write_json

SECONDS_BETWEEN_LOOKS = 0.2


def survey(folder: Path, n: int, *, kills: int, size: int, model: str, device: str) -> dict:
    """Score n cutouts, with so many SIGKILLs on the way.

    Returns:
        Rows, lost, doubled, kills with the parts that were there at each, seconds and images/s of the scoring, the largest resident
        memory of the process and its values along the way, and bytes of table and scores.
    """
    run = begin_run(folder / f"run-{model}-{size}", model, size)
    table = write_table(folder / f"table-{n}", n, size)
    out, state_file = folder / f"scores-{n}-{model}", folder / f"survey-{n}-{model}.json"
    state = read_json(state_file) if state_file.is_file() else {"seconds": 0.0, "kills_at": [], "rss_mib": [], "complete": False}
    rng = random.Random(len(state["kills_at"]))
    while not state["complete"]:
        left = kills - len(state["kills_at"])
        _one_run(run, table, out, device, _next_kill(rng, n, out, left), state)
        write_json(state_file, state)
    ids = read_scores(out, ["id"])["id"].to_pylist()
    bad, distinct = read_bad(out).num_rows, len(set(ids))
    return {
        "rows": n,
        "model": model,
        "device": device,
        "shape": [3, size, size],
        "lost": n - distinct - bad,
        "doubled": len(ids) - distinct,
        "bad": bad,
        "kills": len(state["kills_at"]),
        "kills_at_part": state["kills_at"],
        "parts": read_json(out / "scores.json")["parts"],
        "seconds": state["seconds"],
        "images_s": n / state["seconds"],
        "rss_mib_max": max(state["rss_mib"]),
        "rss_mib": state["rss_mib"][:: max(1, len(state["rss_mib"]) // 20)],
        "bytes_in": sum(file.stat().st_size for file in table.iterdir()),
        "bytes_out": sum(file.stat().st_size for file in out.rglob("*") if file.is_file()),
    }


def _parts(out: Path) -> int:
    return sum(part_number(name) is not None for name in os.listdir(out)) if out.is_dir() else 0


def _next_kill(rng: random.Random, n: int, out: Path, left: int) -> int | None:
    """Return at how many parts to kill next, None for never again; the kills that are left share what is left."""
    if left <= 0:
        return None
    total, here = -(-n // part_size(n)), _parts(out)
    return here + 1 + int(rng.uniform(0.2, 1.0) * max(0, total - here - 1) / (left + 1))


def _one_run(run: Path, table: Path, out: Path, device: str, kill_at: int | None, state: dict) -> None:
    """Run the command until it ends or is killed, and look at its memory; time counts from its start to its end."""
    command = [sys.executable, "-m", "darklens", "predict", run, table, "--out", f"{out}/", "--device", device]
    start = time.monotonic()
    process = subprocess.Popen([str(word) for word in command])
    try:
        while process.poll() is None:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            if (seen := _rss_mib(process.pid)) and _parts(out):
                state["rss_mib"].append(seen)
            if kill_at is not None and (there := _parts(out)) >= kill_at:
                time.sleep(random.uniform(0, 1))
                process.send_signal(signal.SIGKILL)
                process.wait()
                state["kills_at"].append(there)
    finally:
        if process.poll() is None:
            process.kill()
        state["seconds"] += time.monotonic() - start
    state["complete"] = process.returncode == 0
    if process.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"the command ended with code {process.returncode}: see above")


def _rss_mib(pid: int) -> float | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), None)
