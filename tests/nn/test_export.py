"""Networks as graphs of torch's own operators, for batches of any size."""

import pytest
import torch
from torch.testing import assert_close

from ._small import each_network, each_routing, random_images, small

# What torch warns of is its own doing.
pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning",
    "ignore::DeprecationWarning",
    "ignore:No complete tensor found:UserWarning",
)
# More than the stem of CapsNet takes at a time.
OTHERS = random_images(70, 1, 12, 12)


@each_network
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@each_routing
def test_trace(name, routing, tmp_path):
    network = small(name, routing=routing, hidden_capsules=((5, 4),)).eval()
    torch.jit.trace(network, OTHERS[:3]).save(tmp_path / "network.pt")
    loaded = torch.jit.load(tmp_path / "network.pt")
    for found, expected in zip(loaded(OTHERS), network(OTHERS), strict=True):
        assert_close(found, expected)


@pytest.mark.parametrize(
    ("name", "routing"), [("capsnet", "dynamic"), ("efficient_capsnet", "uniform")]
)
def test_export(name, routing, tmp_path):
    network = small(name, routing=routing).eval()
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        network, (OTHERS[:3],), dynamic_shapes={"images": {0: batch}}
    )
    torch.export.save(program, tmp_path / "network.pt2")
    loaded = torch.export.load(tmp_path / "network.pt2").module()
    found, expected = loaded(OTHERS), network(OTHERS)
    assert type(found) is type(expected)
    assert_close(tuple(found), tuple(expected))
