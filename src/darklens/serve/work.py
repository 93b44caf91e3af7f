"""Where requests compute: a few threads, a short queue, and a time after which nobody waits any longer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from fastapi import Request, WebSocket

from darklens.serve.answers import Busy, TookTooLong
from darklens.serve.measures import Measures
from darklens.serve.settings import Limits

T = TypeVar("T")


class Workshop:
    """A bounded pool of threads.

    A request that is given up on keeps its place until its thread is done: impatient visitors cannot pile up work.

    Args:
        limits: threads, places and seconds.
        measures: where to count those that are turned away.
    """

    def __init__(self, limits: Limits, measures: Measures) -> None:
        self.limits, self.measures = limits, measures
        self.threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="darklens")
        self.taken = 0

    async def run(self, work: Callable[..., T], *arguments: object, **options: object) -> T:
        """Compute in a thread.

        Raises:
            Busy: there is no place left.
            TookTooLong: it took longer than a request may.
        """
        self.enter()
        task = asyncio.get_running_loop().run_in_executor(self.threads, partial(work, *arguments, **options))
        task.add_done_callback(lambda _: self.leave())
        return await within(task, self.limits.seconds)

    def enter(self) -> None:
        """Take a place.

        Raises:
            Busy: there is none left.
        """
        if self.taken >= self.limits.waiting:
            self.measures.refused.inc()
            raise Busy(f"{self.taken} requests are waiting, which is the limit: come again in a second")
        self.taken += 1

    def leave(self) -> None:
        """Give a place back."""
        self.taken -= 1

    def close(self) -> None:
        """Let go of the threads; what has begun is finished."""
        self.threads.shutdown(wait=False, cancel_futures=True)


async def within(future: asyncio.Future[T], seconds: float) -> T:
    """Wait for work that goes on whether or not somebody waits.

    Raises:
        TookTooLong: it took longer.
    """
    try:
        return await asyncio.wait_for(asyncio.shield(future), seconds)
    except TimeoutError:
        future.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody else will ask for it
        raise TookTooLong(f"this took longer than {seconds:g} s, which is the limit: ask for fewer or smaller images") from None


def workshop(connection: Request | WebSocket) -> Workshop:
    """Return the application's workshop."""
    return connection.app.state.workshop
