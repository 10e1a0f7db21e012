import pytest
import torch
from torch.testing import assert_close

from ._small import each_network, each_routing, random_images, small


@pytest.fixture(autouse=True)
def forget_compiled():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@each_network
@each_routing
@pytest.mark.parametrize("training", [False, True])
def test_network_is_one_graph(name, routing, training):
    network = small(name, routing=routing).double().train(training)
    images = random_images(4, 1, 12, 12, dtype=torch.float64)
    expected = network(images)
    network.load_state_dict(small(name, routing=routing).double().state_dict())
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    found = compiled(images)
    assert_close(found.poses, expected.poses, rtol=1e-12, atol=1e-12)
    assert_close(found.coupling, expected.coupling, rtol=1e-12, atol=1e-12)
