"""What stands before every request: who may come in, how much may be sent, and what a browser is told to refuse.

- Without a token the server is for this machine: the name it is called by has to be one of this machine, or a page elsewhere could
  reach it by a name that it lets point here (DNS rebinding).
- With a token every request but `PUBLIC` needs it, as `Authorization: Bearer` or as the cookie that `/login` gives.
- A request that changes something, and a WebSocket, has to come from a page of this server (`Origin`).
- Bodies are counted as they arrive, whatever their header says.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from darklens.serve.settings import Settings, is_loopback

COOKIE = "darklens_session"
PUBLIC = ("/healthz", "/login", "/static/")
UPLOADS = ("/api/predict", "/api/fit", "/api/explain")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; font-src 'self'; "
    "manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with none at all, browsers send a form of ours as a stranger's: `Origin: null`
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}

_log = logging.getLogger("darklens.serve")


class Guard:
    """The middleware; see the module.

    Args:
        app: what is behind it.
        settings: token, address and limits.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with one sentence."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refused = self._refusal(scope)
        if refused is not None:
            await _refuse(scope, receive, send, *refused)
        elif scope["type"] == "websocket":
            await self.app(scope, receive, send)
        else:
            await self._limited(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Return status and sentence of a request that may not come in."""
        host, origin = _header(scope, b"host"), _header(scope, b"origin")
        name = urlsplit(f"//{host}").hostname or "" if _is_host(host) else ""
        if self.settings.token is None and not is_loopback(name):
            return (
                421,
                f"this server answers to localhost and 127.0.0.1, not to {name[:80] or 'no name'!r}: call it by one of these",
            )
        changes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD", "OPTIONS")
        if changes and origin and urlsplit(origin).netloc != host:
            return 403, f"a page of {origin[:80]!r} may not ask this server: open the server's own pages"
        if scope["path"].startswith(PUBLIC) or self._known(scope):
            return None
        return 401, "this server needs its token: send it as 'Authorization: Bearer TOKEN', or log in at /login"

    def _known(self, scope: Scope) -> bool:
        """Tell whether a request brings the token."""
        if self.settings.token is None:
            return True
        scheme, _, given = _header(scope, b"authorization").partition(" ")
        if scheme.lower() == "bearer" and _same(given.strip(), self.settings.token):
            return True
        return any(_same(value, session_of(self.settings.token)) for value in _cookies(scope))

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        upload = scope["path"] in UPLOADS
        limit = self.settings.limits.upload_bytes if upload else self.settings.limits.body_bytes
        sentence = f"a request to {scope['path'][:80]} may have {limit >> 10:,} KiB: send fewer or smaller files at once"
        declared = _header(scope, b"content-length")
        if declared.isdigit() and int(declared) > limit:
            await _refuse(scope, receive, send, 413, sentence)
            return
        seen, started = 0, False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise HTTPException(413, sentence)  # which nobody below takes for anything else
            return message

        async def dressed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], *_dress(scope, message["headers"])]
            await send(message)

        try:
            await self.app(scope, counted, dressed)
        except Exception as error:  # nobody is shown a traceback, and the answer has its headers
            _log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
            if not started:
                sentence = f"the server met an unexpected {type(error).__name__}: its log says more"
                await _refuse(scope, receive, send, 500, sentence)


def session_of(token: str) -> str:
    """Return what the cookie holds: it shows that the token was known, and does not give it away."""
    return hmac.new(token.encode(), b"darklens session", hashlib.sha256).hexdigest()


def _same(a: str, b: str) -> bool:
    return hmac.compare_digest(a.encode(), b.encode())


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _is_host(host: str) -> bool:
    """Tell whether a header can be a host and a port, which is all that `urlsplit` is then asked about."""
    return bool(host) and host.isascii() and not set(host) & set("/?#@\\ \t") and host.count("[") == host.count("]") <= 1


def _cookies(scope: Scope) -> Iterable[str]:
    for part in _header(scope, b"cookie").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            yield value


def _dress(scope: Scope, there: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers that a response has to have and has not."""
    known = {key.lower() for key, _ in there}
    cache = "no-cache" if scope["path"].startswith("/static/") else "no-store"
    wanted = HEADERS | {"cache-control": cache}
    return [(key.encode(), value.encode()) for key, value in wanted.items() if key.encode() not in known]


def _login(scope: Scope) -> bytes:
    """Return where a visitor shows the token, and from there goes on to the page that was asked for."""
    query = scope["query_string"].decode("latin-1")
    wanted = scope["path"] + (f"?{query}" if query else "")
    return b"/login" if wanted == "/" else f"/login?to={quote(wanted, safe='')}".encode()


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, sentence: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": sentence[:120]})
        return
    headers = [(b"content-type", b"application/json")]
    if status == 401 and "text/html" in _header(scope, b"accept") and scope["method"] == "GET":
        status, headers = 303, [(b"location", _login(scope)), *headers]
    elif status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    headers += _dress(scope, headers)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"error": sentence}).encode()})
