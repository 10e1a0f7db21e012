import gpu
import numpy as np
import pytest
import torch

from skcaps.nn import capsnet, efficient_capsnet

NETWORKS = {
    gpu.CapsNetClassifier: capsnet,
    gpu.EfficientCapsNetClassifier: efficient_capsnet,
}
ROW = "Efficient-CapsNet, batch 16, float32"


@pytest.mark.parametrize("kind", NETWORKS)
def test_counts_are_those_of_the_network(kind):
    network = NETWORKS[kind]((1, 28, 28), 10).eval()
    products, numbers = [], 0

    def count(conv, _, maps):
        nonlocal numbers
        products.append(maps.numel() * conv.weight[0].numel())
        # What has one pixel is no map any more.
        numbers += maps.numel() if maps.shape[-1] > 1 else 0

    for conv in network.modules():
        if isinstance(conv, torch.nn.Conv2d):
            conv.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 1, 28, 28))
    assert tuple(products) == gpu.MULTIPLY_ADDS[kind]
    assert numbers == gpu.MAP_SIZES[kind]


def test_floors():
    peaks = {"float32": 1e9, "bytes per second": 1e6}
    found = gpu.floors(ROW, 32, 1000, peaks)
    first, *others = gpu.MULTIPLY_ADDS[gpu.EfficientCapsNetClassifier]
    assert found["arithmetic floor s"] == 64 * (2 * first + 3 * sum(others)) / 1e9
    maps = 5 * 4 * 32 * gpu.MAP_SIZES[gpu.EfficientCapsNetClassifier]
    assert found["memory floor s"] == (maps + 2 * 10 * 4 * 1000) / 1e6


def test_device_is_measured_and_left_as_it_was():
    before = torch.backends.cuda.matmul.allow_tf32
    found = gpu.measure_device("cpu", 16)
    assert found.keys() == {"bytes per second", "float32", "bfloat16"}
    assert all(value > 0 for value in found.values())
    assert torch.backends.cuda.matmul.allow_tf32 == before


def test_routings_agree_with_themselves():
    assert set(gpu.check_routings("cpu").values()) == {0}


def test_row_and_table():
    X, y = np.zeros((20, 784), np.uint8), np.arange(20) % 10
    peaks = {"float32": 1e9, "bytes per second": 1e9}
    row = gpu.epoch_row(ROW, X, y, "cpu", peaks)
    assert row["epoch s"] > 0
    assert row["images per second"] == 20 / row["epoch s"]
    *_, line = gpu.make_table([row]).splitlines()
    assert line.startswith(f"| {ROW} | {row['epoch s']:.2f} | 8 | ")
