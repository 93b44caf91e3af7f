"""Serve on more than one machine: the pages from this one, the networks' judgements from a Ray cluster, by Ray Serve.

Who may come in, how much may be sent and how many may wait is decided here, by the server that one machine has
(`darklens.serve`); Ray Serve's own proxies, a second way in, are not started. A checked image goes to one of a network's replicas,
where images that come together share a batch. Replicas answer each other on a port that Ray Serve opens to every interface of their
machine, as the rest of Ray does: a cluster belongs into a network of its own.
"""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from darklens.cluster.session import session
from darklens.errors import InputError
from darklens.serve.answers import Busy
from darklens.serve.judges import Judges, Network, Verdict, judged
from darklens.serve.running import run_server
from darklens.serve.settings import Limits, Settings
from darklens.train.predictor import Predictor


def serve_on_cluster(
    settings: Settings, *, address: str, replicas: int | None = None, log: Callable[[str], None] = lambda sentence: None
) -> None:
    """Serve until interrupted; the runs that were asked for, or the first that is shipped, judge on a Ray cluster.

    Args:
        settings: what to serve, and where.
        address: see `session`.
        replicas: copies of each run; by default as many as the cluster has cores for.
        log: receives sentences.

    Raises:
        InputError: Ray Serve is not installed, no cluster there or only this machine, too few cores in it, or what `run_server`
            refuses.
        WorkError: the address cannot be listened on.
    """
    if address == "local":
        raise InputError(
            "--ray local would open a port of Ray Serve to other machines: leave --ray out on one machine, or give HOST:PORT of a "
            "cluster in a network of its own"
        )
    serve = _ray_serve()
    started: list[str] = []

    def share(judges: Judges) -> None:
        networks = list(judges.networks.values())[: max(1, len(settings.runs))]
        copies = copies_of(len(networks), _cores(ray), replicas)
        serve.start(proxy_location="Disabled")  # a second way in would go round the guard
        for network in networks:
            name = _application_name(network.name)
            started.append(name)
            application = judge_application(network.loaded(), settings.limits, copies)
            handle = serve.run(application, name=name, route_prefix=None)
            network.elsewhere = sender(handle, network)
            log(f"{network.name}: {copies} {'copy' if copies == 1 else 'copies'} on the cluster")

    with session(address) as ray:
        try:
            run_server(settings, log=log, share=share)
        finally:
            for name in started:
                serve.delete(name)


def judge_application(predictor: Predictor, limits: Limits, replicas: int) -> Any:
    """Return a Ray Serve application: an image `(bands, H, W)` that was checked to a `Verdict`, or to the error that it met.

    Args:
        predictor: the network; it is sent to the replicas whole, weights included.
        limits: batch, and images that may wait.
        replicas: copies, each with a core of its own.

    Raises:
        InputError: Ray Serve is not installed.
    """
    serve = _ray_serve()
    most = max(limits.waiting, limits.images)

    class Judge:
        def __init__(self, network: Predictor) -> None:
            self.network = network

        @serve.batch(max_batch_size=limits.batch, batch_wait_timeout_s=limits.gather_seconds)  # type: ignore[untyped-decorator]
        async def __call__(self, images: list[np.ndarray]) -> list[Verdict | Exception]:
            return await asyncio.to_thread(judged, self.network, images)

    deployed = serve.deployment(
        name="judge", num_replicas=replicas, max_ongoing_requests=2 * limits.batch, max_queued_requests=most,
        ray_actor_options={"num_cpus": 1},
    )  # fmt: skip
    return deployed(Judge).bind(predictor)


def sender(handle: Any, network: Network) -> Callable[[np.ndarray], Awaitable[Verdict]]:
    """Return what sends a checked image to the replicas behind a handle.

    It raises the error that the image met, and `Busy` where the replicas are full or gone.
    """
    from ray.exceptions import RayError
    from ray.serve.exceptions import BackPressureError, RayServeException

    async def send(image: np.ndarray) -> Verdict:
        try:
            found = await handle.remote(image)
        except BackPressureError:
            network.measures.refused.inc()
            raise Busy(f"all replicas of {network.name} have enough to do: come again in a second") from None
        except (RayError, RayServeException) as error:
            raise Busy(f"{network.name} cannot be reached on its cluster ({type(error).__name__}): come again soon") from error
        if isinstance(found, Exception):
            raise found
        return found

    return send


def _application_name(network: str) -> str:
    """Return what an application is called on the cluster, where other servers may have one of the same network."""
    return f"darklens-{re.sub(r'[^A-Za-z0-9]+', '-', network)}-{uuid.uuid4().hex[:8]}"


def copies_of(networks: int, cores: int, wanted: int | None) -> int:
    """Return how many copies of each network a cluster is given.

    Raises:
        InputError: fewer than one, or more than there are cores for.
    """
    if wanted is not None and wanted < 1:
        raise InputError(f"--replicas {wanted} leaves nobody to judge: give 1 or more")
    found = max(1, cores // networks) if wanted is None else wanted
    if found * networks > cores:
        raise InputError(
            f"{networks} runs in {found} copies each take {found * networks} cores, the cluster has {cores}: "
            "give fewer runs or --replicas, or add machines"
        )
    return found


def _cores(ray: Any) -> int:
    """Return the cores of the cluster that Ray is connected to."""
    return int(ray.cluster_resources().get("CPU", 0))


def _ray_serve() -> Any:
    try:
        from ray import serve
    except ImportError as error:
        raise InputError("serving with --ray needs Ray Serve, which is not installed whole: pip install 'ray[serve]'") from error
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    return serve
