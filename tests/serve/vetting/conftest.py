"""A list of candidates with images, a real PostgreSQL from the distribution's packages, and servers that can be killed."""

import multiprocessing
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from darklens.data import TableWriter

pytest.importorskip("fastapi", reason="the vetting room needs FastAPI: pip install 'darklens[serve]'")
pytest.importorskip("sqlalchemy", reason="the vetting room needs SQLAlchemy: pip install 'darklens[serve]'")

from darklens.serve.running import run_server
from darklens.serve.settings import Settings

N = 12
IDS = [f"c{i:02d}" for i in range(N)]


def make_scores(folder):
    """Write a table of images of three bands and scores of them, best first in the order of their ids."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:20, :24] - 9.5
    light = np.exp(-(x**2 + y**2) / 18) * rng.lognormal(4, 0.5, (N, 3, 1, 1))
    with TableWriter(folder / "images", shape=(3, 20, 24), classes=["nonlens", "lens"], manifest={}) as writer:
        writer.write_columns(IDS, (light + rng.normal(size=light.shape)).astype(np.float32), [None] * N, {})
    p = np.linspace(0.99, 0.1, N)
    columns = {"id": IDS, "source": [str(folder / "images")] * N, "predicted": ["lens"] * N, "nonlens": 1 - p, "lens": p}
    pq.write_table(pa.table(columns), folder / "scores.parquet")
    return folder / "scores.parquet"


@pytest.fixture
def scores(tmp_path):
    return make_scores(tmp_path)


class Postgres:
    """A server of its own in a folder of its own."""

    def __init__(self, folder, binaries):
        self.folder, self.binaries, self.port = folder, binaries, free_port()
        self.data = folder / "data"
        self.call("initdb", "-D", str(self.data), "-A", "trust", "-U", "darklens", "--no-sync")
        self.start()

    def call(self, name, *arguments):
        as_other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        return subprocess.run([*as_other, str(self.binaries / name), *arguments], check=True, capture_output=True, cwd=self.folder)

    def start(self):
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        self.call("pg_ctl", "-D", str(self.data), "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self):
        self.call("pg_ctl", "-D", str(self.data), "-m", "immediate", "stop")

    def database(self, name):
        self.call("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "darklens", name)
        return f"postgresql://darklens@127.0.0.1:{self.port}/{name}"


@pytest.fixture(scope="session")
def postgres():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(p) for p in [shutil.which("initdb")] if p]
    if not found:
        pytest.skip("there is no PostgreSQL here: install the distribution's package postgresql")
    if os.geteuid() == 0 and not (shutil.which("runuser") and _is_user("postgres")):
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres to run it")
    pytest.importorskip("psycopg", reason="PostgreSQL needs psycopg: pip install 'darklens[postgresql]'")
    folder = Path(tempfile.mkdtemp(prefix="darklens-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    server = None
    try:
        server = Postgres(folder, found[-1].parent)
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _is_user(name):
    import pwd

    return any(entry.pw_name == name for entry in pwd.getpwall())


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'vetting.db'}"
    return request.getfixturevalue("postgres").database(f"d{time.time_ns()}")


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Server:
    """`darklens serve --vet` in a process of its own, on one port, that can be killed and started again."""

    def __init__(self, context, **settings):
        self.context, self.settings = context, Settings(port=free_port(), **settings)
        self.address = f"http://127.0.0.1:{self.settings.port}"
        self.client = httpx.Client(
            base_url=self.address, timeout=20, verify=False
        )  # no TLS: making its context takes longer than all
        self.process = None

    def start(self):
        self.process = self.context.Process(target=run_server, args=(self.settings,), daemon=True)
        self.process.start()
        for _ in range(1200):
            assert self.process.is_alive(), f"the server ended with {self.process.exitcode}"
            try:
                return self.client.get("/healthz").raise_for_status()
            except httpx.TransportError:
                time.sleep(0.05)
        raise TimeoutError("the server did not begin to answer")

    def kill(self):
        """End it as a power cut would."""
        self.process.kill()
        self.process.join()

    def stop(self):
        """End it as Ctrl-C would."""
        self.process.terminate()
        self.process.join(20)


@pytest.fixture(scope="session")
def processes():
    """Processes that begin with everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["darklens.serve.app"])
    return context


@pytest.fixture
def serve(processes):
    servers = []

    def begin(**settings):
        servers.append(Server(processes, **settings))
        servers[-1].start()
        return servers[-1]

    yield begin
    for server in servers:
        if server.process.is_alive():
            server.kill()
