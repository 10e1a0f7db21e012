import numpy as np
import pytest
import torch
from torch.testing import assert_close

from skcaps.functional import matrix_votes
from skcaps.nn import (
    MIXTURES,
    ROUTINGS,
    CapsuleConv2d,
    CapsuleLayer,
    ClassCapsules2d,
)

SIDES = (3, 4)


def _children(batch=2, types=2, dim=4, sides=SIDES, seed=0):
    rng = np.random.default_rng(seed)
    poses = rng.normal(size=(batch, types, dim, *sides))
    activations = rng.uniform(0.1, 0.9, size=(batch, types, *sides))
    return torch.from_numpy(poses), torch.from_numpy(activations)


def _in_line(poses, activations):
    """Children in the order row, column, type."""
    return (
        poses.movedim((-2, -1), (1, 2)).flatten(1, 3),
        activations.movedim((-2, -1), (1, 2)).flatten(1, 3),
    )


def _trained(module, seed=0):
    """With parameters that are neither zero nor the same for all parents."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter += 0.3 * noise
    return module.double()


@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize("given", [True, False], ids=["activations", "lengths"])
def test_equals_the_dense_layer_where_the_kernel_is_the_map(routing, given):
    conv = _trained(CapsuleConv2d(2, 4, 3, 5, SIDES, routing=routing))
    dense = CapsuleLayer(24, 4, 3, 5, routing=routing).double()
    dense.load_state_dict(conv.state_dict())
    poses, activations = _children()
    flat, present = _in_line(poses, activations)
    if not given:
        activations = present = None
    found, expected = conv(poses, activations), dense(flat, present)
    assert_close(found.poses[..., 0, 0], expected.poses, rtol=0, atol=1e-12)
    assert_close(found.coupling[:, 0, 0], expected.coupling, rtol=0, atol=1e-12)
    assert_close(found.activations[..., 0, 0], expected.activations, rtol=0, atol=1e-12)


@pytest.mark.parametrize("routing", ROUTINGS)
def test_matrices_are_multiplied_from_the_right(routing):
    torch.manual_seed(0)
    layer = _trained(CapsuleConv2d(2, 6, 3, 4, SIDES, pose_rows=2, routing=routing))
    poses, activations = _children(dim=6)
    flat, _ = _in_line(poses, activations)
    seen = matrix_votes(flat, layer.weight)
    # Vectors that are their own votes, of one child for one parent each.
    whole = CapsuleConv2d(2, 6, 3, 4, SIDES, routing=routing).double()
    state = layer.state_dict()
    eye = torch.eye(2, dtype=torch.float64)
    state["weight"] = torch.einsum("rs,ijdc->ijrdsc", eye, layer.weight).reshape(
        24, 3, 6, 4
    )
    whole.load_state_dict(state)
    assert_close(torch.einsum("bid,ijde->bije", flat, state["weight"]), seen)
    found, expected = layer(poses, activations), whole(poses, activations)
    for part, same in zip(found, expected, strict=True):
        assert_close(part, same, rtol=0, atol=1e-12)


@pytest.mark.parametrize("routing", ROUTINGS)
def test_moving_the_image_by_a_stride_moves_what_is_inside(routing):
    layer = _trained(CapsuleConv2d(2, 4, 3, 4, 2, stride=2, routing=routing)).eval()
    poses, activations = _children(sides=(4, 8))
    moved = [part.roll(2, dims=-1) for part in (poses, activations)]
    found, rolled = layer(poses, activations), layer(*moved)
    # Windows that do not overlap share no child, so the border is no exception.
    assert_close(rolled.poses[..., 1:], found.poses[..., :-1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("routing", [name for name in ROUTINGS if name not in MIXTURES])
def test_windows_do_not_compete_without_a_mixture(routing):
    layer = _trained(CapsuleConv2d(2, 4, 3, 4, 2, routing=routing))
    poses, activations = _children()
    found = layer(poses, activations)
    part = layer(poses[..., 1:, 2:], activations[..., 1:, 2:])
    assert found.poses.shape == (2, 3, 4, 2, 3)
    assert_close(part.poses[..., 0, 0], found.poses[..., 1, 2], rtol=0, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
def test_padding_adds_children_that_are_not_there(stride):
    layer = CapsuleConv2d(
        2, 4, 3, 4, 3, stride=stride, padding=1, routing="em"
    ).double()
    poses, activations = _children()
    found = layer(poses, activations)
    assert found.poses.shape[-2:] == (-(-3 // stride), -(-4 // stride))
    assert_close(found.coupling.sum(), torch.tensor(2 * 24.0).double())


@pytest.mark.parametrize("case", ["conv_s1", "conv_s2", "conv_s2_pad1"])
def test_self_routing_equals_the_authors(references, case):
    values = references(f"self_routing_{case}", case)
    types, dim = values["poses"].shape[1], values["poses"].shape[4]
    out_types, out_dim = values["out_poses"].shape[1], values["out_poses"].shape[4]
    layer = CapsuleConv2d(
        types,
        dim,
        out_types,
        out_dim,
        int(values["kernel"]) if "kernel" in values else 3,
        stride=int(values["stride"]),
        padding=int(values.get("padding", 0)),
        routing="self",
    ).double()
    with torch.no_grad():
        layer.weight.copy_(values["W1"].flatten(0, 2).mT)
        layer.routing.weight_route.copy_(values["W2"].flatten(0, 2).mT)
        layer.routing.bias_route.copy_(values["b2"].flatten(0, 2))
    found = layer(values["poses"].movedim(4, 2), values["activations"])
    assert_close(found.poses.movedim(2, 4), values["out_poses"], rtol=0, atol=1e-6)
    assert_close(found.activations, values["out_activations"], rtol=0, atol=1e-6)
    coupling = found.coupling.view(values["out_couplings"].shape)
    assert_close(coupling, values["out_couplings"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", ["conv_s1_matrix", "conv_s2_vector"])
@pytest.mark.parametrize("updates", [1, 2])
def test_inverted_attention_equals_the_paper_with_the_authors_class(
    references, case, updates
):
    # `paper_`: their class with a right expansion of the windows; as released it mixes
    # positions and pose numbers.
    values = references(f"inverted_attention_{case}", case)
    if f"u{updates}/paper_poses" not in values:
        pytest.skip(f"no values for {updates} updates")
    poses = values["poses"].flatten(4)
    rows = values["poses"].shape[4] if values["poses"].ndim == 6 else 1
    weight = values["W"] if rows > 1 else values["W"].mT
    out_types, out_dim = values["W"].shape[3], len(values["ln_weight"])
    layer = CapsuleConv2d(
        poses.shape[1],
        poses.shape[4],
        out_types,
        out_dim,
        3,
        stride=int(values["stride"]),
        pose_rows=rows,
        routing="inverted_attention",
        iterations=updates + 1,
    ).double()
    with torch.no_grad():
        layer.weight.copy_(weight.flatten(0, 2))
        layer.routing.norm_weight.copy_(values["ln_weight"])
        layer.routing.norm_bias.copy_(values["ln_bias"])
    found = layer(poses.movedim(4, 2)).poses.movedim(2, 4)
    expected = values[f"u{updates}/paper_poses"].reshape(found.shape)
    assert_close(found, expected, rtol=0, atol=1e-6)


# --- class capsules -------------------------------------------------------------------


@pytest.mark.parametrize("routing", MIXTURES)
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_only_coordinates_tell_positions_apart(routing, scale):
    layer = ClassCapsules2d(
        2, 4, 3, 4, pose_rows=2, routing=routing, coordinate_scale=scale
    ).double()
    poses, activations = _children()
    order = torch.from_numpy(np.random.default_rng(1).permutation(12))
    mixed = [
        part.flatten(-2)[..., order].unflatten(-1, SIDES)
        for part in (poses, activations)
    ]
    found, other = layer(poses, activations), layer(*mixed)
    same = torch.allclose(found.poses, other.poses, rtol=0, atol=1e-12)
    assert same == (scale == 0)


def test_coordinates_of_the_votes():
    layer = ClassCapsules2d(1, 4, 1, 4, pose_rows=2, iterations=1).double()
    with torch.no_grad():
        layer.weight.zero_()
    active = torch.zeros(1, 1, *SIDES).double()
    active[..., 2, 1] = 1
    found = layer(torch.zeros(1, 1, 4, *SIDES).double(), active).poses[0, 0]
    # The middle of row 2 of 3, and of column 1 of 4, at the ends of the two rows.
    assert_close(found, torch.tensor([0, 2.5 / 3, 0, 1.5 / 4]).double())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: CapsuleConv2d(2, 6, 3, 4, 2, pose_rows=4),
            r"choose multiples of 4\.$",
        ),
        (
            lambda: CapsuleConv2d(2, 4, 3, 4, 2, routing="fuzzy"),
            r"^routing must be one",
        ),
        (lambda: CapsuleConv2d(0, 4, 3, 4, 2), r"^in_types must be a positive integer"),
        (
            lambda: ClassCapsules2d(2, 4, 3, 4, routing="dynamic"),
            r"^routing must be one",
        ),
        (lambda: ClassCapsules2d(2, 4, 3, 4, pose_rows=1), r"at least 2, got 1\.$"),
    ],
)
def test_wrong_options(build, message):
    with pytest.raises(ValueError, match=message):
        build()


# --- normalized poses -----------------------------------------------------------------


def _with_and_without_norm():
    options = {"stride": 2, "routing": "vb"}
    plain = _trained(CapsuleConv2d(2, 4, 3, 5, 2, **options))
    normal = CapsuleConv2d(2, 4, 3, 5, 2, pose_norm="batch", **options).double()
    normal.load_state_dict(plain.state_dict(), strict=False)
    return plain, normal


def test_poses_of_a_type_are_normalized_together():
    plain, normal = _with_and_without_norm()
    children = _children(sides=(4, 6))
    expected, found = plain(*children), normal(*children)
    poses = expected.poses.detach().numpy()
    means = poses.mean(axis=(0, 2, 3, 4), keepdims=True)
    variances = poses.var(axis=(0, 2, 3, 4), keepdims=True)
    exact = (poses - means) / np.sqrt(variances + 1e-5)
    assert_close(found.poses, torch.from_numpy(exact), rtol=0, atol=1e-10)
    assert_close(found.activations, expected.activations, rtol=0, atol=0)
    assert sum(p.numel() for p in normal.parameters()) == sum(
        p.numel() for p in plain.parameters()
    )


def test_one_batch_is_enough_to_normalize_poses_in_evaluation():
    _, normal = _with_and_without_norm()
    children = _children(sides=(4, 6))
    trained = normal(*children).poses
    assert_close(normal.eval()(*children).poses, trained, rtol=0, atol=1e-10)


def test_unknown_normalization_of_poses():
    with pytest.raises(ValueError, match=r"^pose_norm must be one of \['batch'\]"):
        CapsuleConv2d(2, 4, 3, 5, 2, routing="vb", pose_norm="layer")
