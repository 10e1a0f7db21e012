import pytest
import torch
from torch.testing import assert_close

from ._small import each_network, each_routing, random_images, small


@pytest.fixture(autouse=True)
def forget_compiled():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


# What the compiler warns of is its own doing.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@each_network
@each_routing
@pytest.mark.parametrize("training", [False, True])
def test_network_is_one_graph(name, routing, training):
    images = random_images(4, 1, 12, 12, dtype=torch.float64)
    # torch 2.4 breaks the graph where a backward pass asks for the squash's gradient.
    fullgraph = routing != "dynamic" or torch.__version__ >= (2, 5)

    def run(transform):
        network = small(name, routing=routing).double().train(training)
        routed = transform(network)(images)
        (routed.poses.square().sum() + routed.activations.sum()).backward()
        return [*routed, *(p.grad for p in network.parameters() if p.grad is not None)]

    compiled = run(lambda n: torch.compile(n, backend="aot_eager", fullgraph=fullgraph))
    for found, expected in zip(compiled, run(lambda n: n), strict=True):
        assert_close(found, expected, rtol=1e-10, atol=1e-12)
