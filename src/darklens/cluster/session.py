"""A connection to a Ray cluster: one that runs already, or one on this machine."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from darklens.errors import InputError

PATIENCE = 5
"""Seconds to wait for a cluster's head to answer."""


@contextmanager
def session(address: str) -> Iterator[Any]:
    """Connect to a cluster and give Ray; a connection that is there already is used and left open.

    Args:
        address: "local" for this machine's cores, "auto" for the cluster that this machine belongs to, or HOST:PORT of its head.

    Raises:
        InputError: Ray is not installed, or there is no cluster at the address.
    """
    ray = reachable(address)
    if ray.is_initialized():
        yield ray
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        if address == "local":
            ray.init(address="local", num_cpus=_cores(), _node_ip_address="127.0.0.1", **quiet)
        else:
            ray.init(address=address, **{k: v for k, v in quiet.items() if k != "include_dashboard"})
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        brief = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise InputError(f"no Ray cluster at {address!r} ({brief}): start one with ray start --head, or use --ray local") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def reachable(address: str) -> Any:
    """Return Ray, not connected yet unless it was before, after a look at what can be seen without it.

    Raises:
        InputError: Ray is not installed, or nothing answers at the address.
    """
    if address == "local":  # read when Ray is imported: on the loopback interface only, on Linux as elsewhere
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError as error:
        raise InputError("--ray needs the package ray, which is not installed: pip install 'darklens[cluster]'") from error
    if not ray.is_initialized():
        _see(address)
    return ray


def _cores() -> int:
    """Return the number of cores that this process may use: a batch system or taskset may give it fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _see(address: str) -> None:
    """Knock at HOST:PORT before Ray does, which would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        if address not in ("local", "auto"):
            raise InputError(f"--ray {address!r} is no address: give local, auto, or HOST:PORT of the cluster's head")
        return
    try:
        _knock(host, port)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"no Ray cluster answers at {address!r} ({error}): start one with ray start --head, or use --ray local"
        ) from error


def _knock(host: str, port: str) -> None:
    socket.create_connection((host, int(port)), PATIENCE).close()


def answers_at(address: str) -> bool:
    """Say whether something answers at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        _knock(host, port)
    except OSError:
        return False
    return True
