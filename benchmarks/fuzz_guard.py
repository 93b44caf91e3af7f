"""A process that reads what may be hostile, and what it is held to: time, memory, nothing executed, one sentence.

The process answers for every path with what became of it; one that does not answer in time, or dies, is replaced.
"""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import resource
import sys
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

SECONDS_AT_MOST = 10.0
MIB_AT_MOST = 2048
_CEILING = 6 << 30
"""Bytes at which the operating system itself refuses, so that a finding does not take the machine down with it."""
FORBIDDEN = (
    *(
        "os.system",
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "os.startfile",
        "pty.spawn",
        "subprocess.Popen",
    ),
    *("pickle.find_class", "socket.connect", "socket.bind", "ctypes.dlopen", "os.putenv"),
)
"""Audit events (PEP 578) that reading a file must never raise."""


@dataclass(frozen=True)
class Verdict:
    """What became of a file.

    Args:
        kind: `read`, `refused` (in one sentence), or a finding: `traceback`, `executed`, `hang`, `memory`, `died`.
        text: the sentence, or what was found.
        seconds: processor time that it took.
        mib: the highest resident memory meanwhile.
    """

    kind: str
    text: str
    seconds: float
    mib: float

    @property
    def harmless(self) -> bool:
        """Whether it is no finding."""
        return self.kind in ("read", "refused")


class Guard:
    """Asks the process; use it in a `with` statement.

    Args:
        known: where its cases stand, as module and name.
    """

    def __init__(self, known: str = "benchmarks.fuzz_cases.CASES") -> None:
        self._known = known
        self._context = multiprocessing.get_context("spawn")
        self._process: multiprocessing.process.BaseProcess | None = None
        self.restarts = 0
        self._start()

    def _start(self) -> None:
        self._pipe, child = self._context.Pipe()
        self._process = self._context.Process(target=_serve, args=(child, self._known), daemon=True)
        self._process.start()
        child.close()
        self._pipe.recv()  # everything is imported

    def ask(self, case: str, path: Path, seconds: float = SECONDS_AT_MOST) -> Verdict:
        """Have a path read as a case of `fuzz_cases.CASES` is, and wait so long for the answer."""
        begin = time.monotonic()
        try:
            self._pipe.send((case, str(path)))
            if self._pipe.poll(seconds):
                return self._pipe.recv()
            found = Verdict("hang", f"no answer in {seconds:g} s", time.monotonic() - begin, 0.0)
        except (EOFError, ConnectionError):
            found = Verdict("died", f"exit code {self._process.exitcode}", time.monotonic() - begin, 0.0)
        self.close()
        self._start()
        self.restarts += 1
        return found

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _serve(pipe: Connection, known: str) -> None:
    import darklens.train.predictor  # noqa: F401  - before memory and events are watched

    module, _, name = known.rpartition(".")
    cases = getattr(importlib.import_module(module), name)
    logging.disable()
    resource.setrlimit(resource.RLIMIT_DATA, (_CEILING, _CEILING))
    events: list[str] = []
    sys.addaudithook(lambda event, args: events.append(f"{event} {args!r:.80}") if event in FORBIDDEN else None)
    pipe.send("ready")
    while True:
        case, path = pipe.recv()
        events.clear()
        pipe.send(_examined(cases[case].read, Path(path), events))


def _examined(read, path: Path, events: list[str]) -> Verdict:
    from darklens.errors import DarklensError

    _forget_peak()
    begin = time.process_time()  # others may have the machine meanwhile; whoever asks looks at the clock
    try:
        read(path)
        kind, text = "read", ""
    except DarklensError as error:
        kind, text = "refused", str(error)
        if "\n" in text or len(text) > 4100:
            kind = "traceback"
    except (Exception, RecursionError) as error:
        where = [f for f in traceback.extract_tb(error.__traceback__) if "darklens" in f.filename][-1:]
        place = f"{Path(where[0].filename).name}:{where[0].lineno}" if where else "?"
        kind, text = "traceback", f"{type(error).__name__} at {place}: {str(error)[:200]}"
    seconds, mib = time.process_time() - begin, _peak_mib()
    if events:
        kind, text = "executed", events[0]
    elif mib > MIB_AT_MOST:
        kind, text = "memory", f"{mib:.0f} MiB"
    elif seconds > SECONDS_AT_MOST:
        kind, text = "hang", f"{seconds:.1f} s"
    return Verdict(kind, text, seconds, mib)


def _forget_peak() -> None:
    """Set the peak of the resident memory to what it is now (Linux)."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def _peak_mib() -> float:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))
