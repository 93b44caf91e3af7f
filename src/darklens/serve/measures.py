"""What the server counts of itself, for Prometheus."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Measures:
    """Counters of one application; each has a registry of its own, so that several can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("darklens_requests_total", "HTTP requests.", ["method", "route", "status"], registry=self.registry)
        self.seconds = Histogram("darklens_request_seconds", "Time to answer.", ["route"], buckets=SECONDS, registry=self.registry)
        self.busy = Gauge("darklens_requests_in_progress", "Requests being answered.", registry=self.registry)
        self.images = Counter("darklens_images_total", "Images that a network has judged.", ["model"], registry=self.registry)
        self.batches = Histogram(
            "darklens_batch_images", "Images that were judged at once.", buckets=IMAGES, registry=self.registry
        )
        self.frames = Counter("darklens_frames_total", "Frames that the laboratory has drawn.", registry=self.registry)
        self.sockets = Gauge("darklens_live_connections", "Laboratories that are open.", registry=self.registry)
        self.refused = Counter("darklens_busy_total", "Requests that were told to come again.", registry=self.registry)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)


class Measuring:
    """Middleware that counts and times requests by the route that answered, never by a path that somebody made up.

    Args:
        app: what is behind it.
        measures: where to count.
    """

    def __init__(self, app: ASGIApp, measures: Measures) -> None:
        self.app, self.measures = app, measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, start = 500, time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self.measures.busy.track_inprogress():
            try:
                await self.app(scope, receive, noted)
            finally:
                route = getattr(scope.get("route"), "path", None) or (
                    "/static" if scope["path"].startswith("/static/") else "other"
                )
                method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE") else "other"
                self.measures.requests.labels(method, route, str(status)).inc()
                self.measures.seconds.labels(route).observe(time.perf_counter() - start)
