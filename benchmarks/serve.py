"""Load on the server: requests/s and how long they take, at 1, 8 and 64 clients at once.

    python -m benchmarks.serve [--model arcnet:common-test] [--seconds 20] [--clients 1 8 64] [--save]

- `predict`: one image a request to /api/predict, as .npy; the server puts requests that come together into one batch.
- `decide`: one decision a request to /api/vet/decisions, written to SQLite and synced to the disk before it is acknowledged.

The server is `darklens serve` in a process of its own; the clients share the machine with it, so the rates are lower bounds. A
client sends its next request as soon as it has the answer to the last one. What is refused (503, busy) is counted and sent again.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import json
import multiprocessing
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from darklens.files import plain, write_json
from darklens.serve import Settings, run_server
from darklens.train.provenance import commit, machine

RESULTS = Path(__file__).parent / "serve.json"
LISTED = 500
"""Images of the vetting room."""
LEAST = 10
"""Requests of a measurement, also where they take longer than its time."""
WARMING = 2.0
"""Seconds that do not count: the network is loaded, and threads begin."""

Send = Callable[[httpx.AsyncClient, int, int], Any]


@contextmanager
def server(folder: Path, model: str) -> Iterator[str]:
    """Serve a model and a list to vet; gives the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = Settings((model,), port=port, vet=scores(folder))
    process = multiprocessing.get_context("spawn").Process(target=run_server, args=(settings,), daemon=True)
    process.start()
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(2400):
            if not process.is_alive():
                sys.exit(f"the server ended with {process.exitcode}")
            try:
                httpx.get(f"{address}/healthz", verify=False)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.join(20)


def scores(folder: Path) -> Path:
    """Write scores without images: decisions do not need any."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    p = np.linspace(0.99, 0.01, LISTED)
    columns = {"id": [f"c{i}" for i in range(LISTED)], "source": [""] * LISTED, "nonlens": 1 - p, "lens": p}
    pq.write_table(pa.table(columns), folder / "scores.parquet")
    return folder / "scores.parquet"


def an_image(model: str) -> bytes:
    """Return an image of the preset that a shipped model (MODEL:PRESET) was trained on, as .npy."""
    from darklens.simulate import simulate

    buffer = io.BytesIO()
    np.save(buffer, simulate(model.rpartition(":")[2], 1, seed=5).image_array()[0])
    return buffer.getvalue()


def sending_images(model: str, content: bytes) -> Send:
    """Return what sends an image."""

    async def send(client: httpx.AsyncClient, who: int, number: int) -> httpx.Response:
        headers = {"content-type": "application/octet-stream"}
        return await client.post("/api/predict", params={"model": model}, content=content, headers=headers)

    return send


def sending_decisions(label: str) -> Send:
    """Return what sends a decision."""

    async def send(client: httpx.AsyncClient, who: int, number: int) -> httpx.Response:
        word = {"key": f"{label}-{who}:{number}", "candidate": f"c{number % LISTED}", "decision": ("lens", "maybe")[number % 2]}
        return await client.post("/api/vet/decisions", json={"who": f"client {who}", "decisions": [word]})

    return send


async def load(address: str, send: Send, clients: int, seconds: float) -> dict[str, Any]:
    """Let clients send for a while, and return rates and times in ms."""
    times: list[float] = []
    busy, begun = 0, time.perf_counter() + WARMING

    async def one(client: httpx.AsyncClient, who: int) -> None:
        nonlocal busy
        for number in itertools.count():
            start = time.perf_counter()
            if start > begun + seconds and len(times) >= max(LEAST, clients):
                return
            while (answer := await send(client, who, number)).status_code == 503:
                busy += 1
                await asyncio.sleep(0.05)
            answer.raise_for_status()
            if start > begun:
                times.append(time.perf_counter() - start)

    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits, verify=False) as client:
        await asyncio.gather(*(one(client, who) for who in range(clients)))
    took = time.perf_counter() - begun
    p50, p95, p99 = (1000 * np.quantile(times, q) for q in (0.5, 0.95, 0.99))
    return {
        "clients": clients,
        "requests": len(times),
        "per_s": len(times) / took,
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "busy": busy,
    }


def batches(address: str) -> tuple[float, float]:
    """Return how many images were judged, in how many batches, so far."""
    lines = [line.rsplit(" ", 1) for line in httpx.get(f"{address}/metrics").text.splitlines() if not line.startswith("#")]
    found = {name: float(value) for name, value in lines}
    return found.get("darklens_batch_images_sum", 0.0), found.get("darklens_batch_images_count", 0.0)


def measure(model: str, clients: list[int], seconds: float) -> Iterator[dict[str, Any]]:
    """Yield a row for each kind of request and number of clients."""
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), model) as address:
        image = an_image(model)
        httpx.post(f"{address}/api/predict", params={"model": model}, content=image, timeout=300).raise_for_status()
        for n in clients:
            before = batches(address)
            row = {"request": "predict", "model": model} | asyncio.run(load(address, sending_images(model, image), n, seconds))
            images, count = (after - earlier for after, earlier in zip(batches(address), before, strict=True))
            yield row | {"images_per_batch": images / max(count, 1)}
            yield {"request": "decide"} | asyncio.run(load(address, sending_decisions(f"round-{n}"), n, seconds))


def main() -> None:
    """Measure, print, and keep where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="arcnet:common-test", help="a shipped one: MODEL:PRESET")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement, at least")
    parser.add_argument("--save", action="store_true", help=f"keep the result in {RESULTS.name}")
    asked = parser.parse_args()
    about, rows = {"machine": machine(), "commit": commit(), "seconds": asked.seconds}, []
    for row in measure(asked.model, asked.clients, asked.seconds):
        print(json.dumps(plain(row)), flush=True)
        rows.append(row)
        if asked.save:
            write_json(RESULTS, about | {"rows": rows})


if __name__ == "__main__":
    main()
