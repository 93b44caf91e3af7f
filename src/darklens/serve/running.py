"""Start the server, after everything that can be wrong has been said."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from darklens.errors import InputError, WorkError
from darklens.serve.settings import Settings

if TYPE_CHECKING:
    from darklens.serve.judges import Judges

EXTRA = 'pip install "darklens[serve]"'


def run_server(
    settings: Settings,
    *,
    log: Callable[[str], None] = lambda sentence: None,
    share: Callable[[Judges], None] = lambda judges: None,
) -> None:
    """Serve until interrupted.

    Args:
        settings: what to serve, and where.
        log: receives sentences.
        share: called with the networks before the first request: gives them to other machines.

    Raises:
        InputError: FastAPI is not installed, or the port is taken.
        WorkError: the address cannot be listened on.
    """
    try:
        import uvicorn

        from darklens.serve.app import create_app
    except ImportError as error:
        raise InputError(f"serving needs {error.name or 'fastapi and uvicorn'}, which is not installed: {EXTRA}") from error
    app = create_app(settings)
    listening = _listen(settings)
    options = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, date_header=True, ws_max_size=settings.limits.body_bytes,
        timeout_keep_alive=30, timeout_graceful_shutdown=5, proxy_headers=False,
    )  # fmt: skip
    try:
        share(app.state.judges)
    except BaseException:
        listening.close()
        raise
    log(f"serving {', '.join(settings.offered())} at {address_of(settings)} (Ctrl-C stops)")
    try:
        uvicorn.Server(options).run(sockets=[listening])
    finally:
        listening.close()


def address_of(settings: Settings) -> str:
    """Return where a browser finds the server."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    return f"http://[{host}]:{settings.port}/" if ":" in host else f"http://{host}:{settings.port}/"


def _listen(settings: Settings) -> socket.socket:
    """Return a socket that is bound, so that a port that is taken is said in one sentence.

    Raises:
        InputError: the port is taken.
        WorkError: the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((settings.host.strip("[]"), settings.port))
    except OSError as error:
        found.close()
        if error.errno in (98, 48, 10048):  # EADDRINUSE on Linux, macOS, Windows
            raise InputError(f"port {settings.port} is taken: choose another --port, or stop what listens there") from error
        why = (error.strerror or str(error)).lower()
        raise WorkError(
            f"{settings.host}:{settings.port} cannot be listened on ({why}): choose another --host or --port"
        ) from error
    return found
