"""Networks that judge on a Ray cluster say what they say on one machine."""

import asyncio
import sys

import numpy as np
import pytest

import darklens
from darklens.errors import InputError

pytest.importorskip("fastapi", reason="serving needs the extra darklens[serve]")

from darklens.cluster.serving import copies_of, judge_application, sender
from darklens.runs import Run, locate
from darklens.serve import Limits
from darklens.serve.judges import Network
from darklens.serve.measures import Measures
from darklens.simulate import simulate


def test_a_cluster_without_ray_serve_is_refused_in_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray.serve", None)
    with pytest.raises(InputError, match=r"^serving with --ray needs Ray Serve, .*: pip install 'ray\[serve\]'$"):
        darklens.serve("arcnet:common-test", ray="auto")


def test_one_machine_opens_no_port_of_a_cluster():
    with pytest.raises(InputError, match=r"^--ray local would open a port of Ray Serve to other machines: leave --ray out"):
        darklens.serve("arcnet:common-test", ray="local")
    with pytest.raises(InputError, match=r"^--replicas 2 is for a Ray cluster"):
        darklens.serve("arcnet:common-test", replicas=2)


def test_copies_fill_the_cluster_and_no_more():
    assert [copies_of(2, cores, None) for cores in (2, 5, 8)] == [1, 2, 4]
    assert copies_of(2, 8, 3) == 3
    with pytest.raises(InputError, match="2 runs in 5 copies each take 10 cores, the cluster has 8"):
        copies_of(2, 8, 5)
    with pytest.raises(InputError, match="2 runs in 1 copies each take 2 cores, the cluster has 1"):
        copies_of(2, 1, None)
    with pytest.raises(InputError, match="--replicas 0 leaves nobody to judge"):
        copies_of(1, 8, 0)


@pytest.mark.slow
def test_replicas_say_what_one_machine_says(cluster):
    serve = pytest.importorskip("ray.serve", reason="Ray Serve is not installed (ray[serve])", exc_type=ImportError)
    lenses = simulate("common-test", 3, seed=5).image_array()
    run = Run(locate("arcnet:common-test"))
    network = Network("arcnet:common-test", run, Limits(), Measures())
    serve.start(proxy_location="Disabled")
    try:
        application = judge_application(network.loaded(), network.limits, 2)
        network.elsewhere = sender(serve.run(application, name="judge", route_prefix=None), network)
        verdicts = asyncio.run(network.judge([*lenses, *lenses, np.zeros((1, 9, 9), np.float32)]))
    finally:
        serve.shutdown()
    expected = network.loaded().answers(lenses).probabilities
    got = [[verdict.probabilities[c] for c in ("no", "sphere", "vort")] for verdict in verdicts[:6]]
    np.testing.assert_allclose(got, np.concatenate([expected, expected]), atol=2e-5)
    assert isinstance(verdicts[6], Exception), "an image that cannot be judged gets its error, and harms nobody"
