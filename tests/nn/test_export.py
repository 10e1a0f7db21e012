"""Networks as graphs of torch's own operators, for batches of any size."""

import pytest
import torch
from torch.testing import assert_close

from skcaps.nn import MIXTURES, matrix_capsnet, segcaps

from ._small import each_network, each_routing, random_images, small

# What torch warns of is its own doing.
pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning",
    "ignore::DeprecationWarning",
    "ignore:No complete tensor found:UserWarning",
)
# More than the stem of CapsNet takes at a time.
OTHERS = random_images(70, 1, 12, 12)


def assert_traced(network, images, path):
    torch.jit.trace(network, images[:3]).save(path)
    loaded = torch.jit.load(path)
    for found, expected in zip(loaded(images), network(images), strict=True):
        assert_close(found, expected)


def assert_exported(network, images, path):
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        network, (images[:3],), dynamic_shapes={"images": {0: batch}}
    )
    torch.export.save(program, path)
    found = torch.export.load(path).module()(images)
    expected = network(images)
    assert type(found) is type(expected)
    assert_close(tuple(found), tuple(expected))


@each_network
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@each_routing
def test_trace(name, routing, tmp_path):
    network = small(name, routing=routing, hidden_capsules=((5, 4),)).eval()
    assert_traced(network, OTHERS, tmp_path / "network.pt")


@pytest.mark.parametrize(
    ("name", "routing"), [("capsnet", "dynamic"), ("efficient_capsnet", "uniform")]
)
def test_export(name, routing, tmp_path):
    network = small(name, routing=routing).eval()
    assert_exported(network, OTHERS, tmp_path / "network.pt2")


@pytest.fixture
def segmenting():
    """A function that builds a small network of some variant, in double precision."""

    def build(variant):
        torch.manual_seed(0)
        return segcaps((1, 8, 8), 2, variant=variant).double().eval()

    return build


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("variant", ["r3", "encoder", "basic"])
def test_trace_of_maps(variant, segmenting, tmp_path):
    images = random_images(5, 1, 13, 9, dtype=torch.float64)
    assert_traced(segmenting(variant), images, tmp_path / "network.pt")


def test_export_of_maps(segmenting, tmp_path):
    images = random_images(5, 1, 13, 9, dtype=torch.float64)
    assert_exported(segmenting("basic"), images, tmp_path / "network.pt2")


@pytest.fixture
def matrix():
    """A function that builds a small matrix capsule network with some routing."""

    def build(routing):
        torch.manual_seed(0)
        sizes = {"conv_channels": 4, "primary_capsules": 2}
        network = matrix_capsnet(
            (1, 12, 12), 3, hidden_capsules=((3, 16),), routing=routing, **sizes
        )
        return network.double().eval()

    return build


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("routing", sorted(MIXTURES))
def test_trace_of_matrices(routing, matrix, tmp_path):
    images = random_images(5, 1, 12, 12, dtype=torch.float64)
    assert_traced(matrix(routing), images, tmp_path / "network.pt")


def test_export_of_matrices(matrix, tmp_path):
    images = random_images(5, 1, 12, 12, dtype=torch.float64)
    assert_exported(matrix("em"), images, tmp_path / "network.pt2")
