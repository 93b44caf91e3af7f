"""Pages and an HTTP API for people who look rather than type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from darklens.errors import InputError


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
    ray: str | None = None,
    replicas: int | None = None,
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
        ray: judge images on a Ray cluster: "auto", or HOST:PORT of its head.
        replicas: copies of each of the runs there; by default as many as the cluster has cores for.
        log: receives sentences.

    Raises:
        InputError: an address beyond this machine without a token, no such run, a port that is taken, the extra is missing, or
            there is no such cluster.
        WorkError: the address cannot be listened on.
    """
    from darklens.serve import Settings, run_server

    listed = (runs,) if isinstance(runs, str | Path) else tuple(runs)
    vet, images = (None if path is None else Path(path) for path in (vet, images))
    settings = Settings(listed, host, port, token, db, vet, images, voters)
    if ray is None:
        _refuse_replicas(replicas)
        run_server(settings, log=log)
        return
    from darklens.cluster.serving import serve_on_cluster

    serve_on_cluster(settings, address=ray, replicas=replicas, log=log)


def _refuse_replicas(replicas: int | None) -> None:
    """Refuse copies on a cluster where there is none.

    Raises:
        InputError: likewise.
    """
    if replicas is not None:
        raise InputError(f"--replicas {replicas} is for a Ray cluster: give --ray ADDRESS too, or leave it out")
