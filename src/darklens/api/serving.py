"""Pages and an HTTP API for people who look rather than type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path


def serve(
    runs: str | Path | Sequence[str | Path] = (),
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    token: str | None = None,
    db: str | None = None,
    vet: str | Path | None = None,
    images: str | Path | None = None,
    voters: int | None = None,
    log: Callable[[str], None] = lambda sentence: None,
) -> None:
    """Serve laboratory, prediction page, vetting room and HTTP API until interrupted.

    Args:
        runs: run folders or names of shipped runs, offered first; the shipped ones are offered as well.
        host: address to listen on.
        port: likewise.
        token: what visitors have to know; needed beyond this machine.
        db: database of the vetting room, as SQLAlchemy writes it; a file by default.
        vet: what is to be vetted: a folder of candidates, scores, or what a campaign of active learning asks about.
        images: where the images to vet are found by their ids, if not where the list says.
        voters: people who shall answer about each image to vet, who share the work then; everybody about all by default.
        log: receives sentences.

    Raises:
        InputError: an address beyond this machine without a token, no such run, a port that is taken, or the extra is missing.
        WorkError: the address cannot be listened on.
    """
    from darklens.serve import Settings, run_server

    listed = (runs,) if isinstance(runs, str | Path) else tuple(runs)
    vet, images = (None if path is None else Path(path) for path in (vet, images))
    run_server(Settings(listed, host, port, token, db, vet, images, voters), log=log)
