"""The cluster of the tests on several machines: two nodes of one core each, on this one."""

import pytest


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster of two nodes; the second, `extra`, can be taken away."""
    ray = pytest.importorskip("ray", reason="ray is not installed (extra [cluster])")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.extra = made.add_node(num_cpus=1)
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()
