"""What a server is told when it starts."""

from __future__ import annotations

import importlib.metadata
import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from darklens.errors import InputError
from darklens.runs import Run, shipped

VERSION = importlib.metadata.version("darklens")

LEAST_TOKEN = 12
"""Characters of a token: fewer can be guessed."""


@dataclass(frozen=True)
class Limits:
    """What a request may cost.

    Args:
        upload_bytes: size of a request that carries files.
        body_bytes: size of any other request.
        unpacked_bytes: size of what a file holds once it is unpacked.
        pixels: of all images in a file.
        fitted: pixels of all images that one request to fit lenses may bring; one processor fits some 300,000 a second.
        images: in one request.
        seconds: that a request may take.
        waiting: requests that may wait for a free thread; one more is told to come again.
        threads: that compute at once, beside one for each network.
        batch: images that a network answers at once.
        gather_seconds: how long a request waits for others to share a batch with.
        sockets: live connections of the laboratory.
        explained: images in one request whose answers are explained; some methods look at each a thousand times.
        explanations: requests for explanations that may wait; they are made one after the other.
    """

    upload_bytes: int = 64 << 20
    body_bytes: int = 256 << 10
    unpacked_bytes: int = 256 << 20
    pixels: int = 1 << 24
    fitted: int = 1 << 22
    images: int = 256
    seconds: float = 60.0
    waiting: int = 128
    threads: int = 2
    batch: int = 64
    gather_seconds: float = 0.004
    sockets: int = 64
    explained: int = 4
    explanations: int = 8


@dataclass(frozen=True)
class Settings:
    """What a server is told when it starts.

    Args:
        runs: run folders or names of shipped runs, served first; the shipped ones are served as well.
        host: address to listen on.
        port: likewise.
        token: what a visitor has to know; needed beyond this machine.
        db: database of the vetting room, as SQLAlchemy writes it; a file of its own by default.
        vet: what is to be vetted: candidates, scores, or a queue of darklens active; no vetting room without it.
        images: where the images to vet are found by their ids, if not where the list says.
        voters: people who shall answer about each image to vet; everybody about all by default.
        limits: what a request may cost.

    Raises:
        InputError: an address beyond this machine without a token, a token that is too short, a port that is none, or no such run.
    """

    runs: tuple[str | Path, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = None
    db: str | None = None
    vet: Path | None = None
    images: Path | None = None
    voters: int | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise InputError(f"--port {self.port} is outside 1 to 65535: choose a port in between, 8765 for example")
        if self.token is not None and len(self.token) < LEAST_TOKEN:
            raise InputError(f"a token of {len(self.token)} characters can be guessed: give --token at least {LEAST_TOKEN}")
        if self.token is not None and not self.token.isascii():
            raise InputError("a token with letters beyond ASCII cannot be sent in a header: give --token letters and digits")
        if self.token is None and not is_loopback(self.host):
            raise InputError(f"--host {self.host} can be reached from other machines: give --token SECRET, or leave --host out")
        for run in self.runs:
            Run.open(run)

    def offered(self) -> list[str]:
        """Return the names of the runs on offer, those that were asked for first."""
        return list(dict.fromkeys([*map(str, self.runs), *shipped("classification")]))


def is_loopback(host: str) -> bool:
    """Tell whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
