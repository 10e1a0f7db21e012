"""The laws hold for every row of the tables, and refuse what breaks them."""

import pytest
import torch
from torch import nn

from skcaps.functional import LOSSES, SQUASHES, Routed, margin_loss, squash, votes
from skcaps.nn import DECODERS, ROUTINGS, DenseDecoder, Routing, UniformRouting
from skcaps.testing import check_decoder, check_loss, check_routing, check_squash


@pytest.mark.parametrize("name", ROUTINGS)
def test_laws_of_every_routing(name):
    check_routing(ROUTINGS[name])


@pytest.mark.parametrize("name", ROUTINGS)
@pytest.mark.parametrize("squashing", SQUASHES)
@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_laws_of_every_routing_with_its_options(name, squashing, iterations):
    check_routing(
        lambda *sizes: ROUTINGS[name](*sizes, squash=squashing, iterations=iterations)
    )


@pytest.mark.parametrize("name", SQUASHES)
def test_laws_of_every_squash(name):
    check_squash(SQUASHES[name])


@pytest.mark.parametrize("name", LOSSES)
def test_laws_of_every_loss(name):
    check_loss(LOSSES[name])


@pytest.mark.parametrize("name", DECODERS)
def test_laws_of_every_decoder(name):
    check_decoder(DECODERS[name])


class _Plain(Routing):
    """Attention by the length of the votes, with a method for each mistake."""

    def couple(self, heard):
        return heard.square().sum(dim=3).softmax(dim=2)

    def finish(self, total):
        return self.shorten(total)

    def forward(self, poses, weight, activations=None):
        heard = votes(poses, weight)
        coupling = self.couple(heard)
        return Routed(self.finish((coupling.unsqueeze(3) * heard).sum(dim=1)), coupling)


class _OverChildren(_Plain):
    def couple(self, heard):
        return heard.square().sum(dim=3).softmax(dim=1)


class _OverBatch(_Plain):
    def couple(self, heard):
        return heard.square().sum(dim=3).mean(dim=0, keepdim=True).softmax(
            dim=2
        ) + torch.zeros_like(heard[..., 0])


class _Turned(_Plain):
    def couple(self, heard):
        return heard[..., 0].softmax(dim=2)


class _FirstChild(_Plain):
    def couple(self, heard):
        return heard[:, :1].square().sum(dim=3).softmax(dim=2).expand(heard.shape[:3])


class _FirstParent(_Plain):
    def couple(self, heard):
        order = torch.arange(heard.shape[2]).to(heard)
        return (heard.square().sum(dim=3) + order).softmax(dim=2)


class _Long(_Plain):
    def finish(self, total):
        return total


class _Singular(_Plain):
    def finish(self, total):
        return self.shorten(total) * total.norm(dim=2, keepdim=True).sqrt().clamp(max=1)


class _Negative(_Plain):
    def couple(self, heard):
        return 2 * super().couple(heard) - 1 / heard.shape[2]


class _Transposed(_Plain):
    def forward(self, poses, weight, activations=None):
        routed = super().forward(poses, weight)
        return Routed(routed.poses, routed.coupling.mT)


class _OwnActivations(_Plain):
    """Activations that are no lengths, so that poses may have any."""

    def finish(self, total):
        return total

    def forward(self, poses, weight, activations=None):
        routed = super().forward(poses, weight)
        return routed._replace(activations=routed.coupling.mean(dim=1))


class _Favourite(_OwnActivations):
    def couple(self, heard):
        return heard[..., 0].square().softmax(dim=2)


class _ActiveByBatch(_OwnActivations):
    def forward(self, poses, weight, activations=None):
        routed = super().forward(poses, weight)
        found = routed.activations
        return routed._replace(activations=0.3 + (found - found.mean(dim=0)) / 4)


class _ActiveByOrder(_OwnActivations):
    def forward(self, poses, weight, activations=None):
        routed = super().forward(poses, weight)
        ramp = torch.linspace(0.5, 1, routed.poses.shape[1]).double()
        return routed._replace(activations=routed.activations * ramp)


class _HearsTheAbsent(_OwnActivations):
    def forward(self, poses, weight, activations=None):
        routed = super().forward(poses, weight)
        present = activations.mean(dim=1)[:, None, None]
        return routed._replace(poses=routed.poses * present)


class _TooActive(_Plain):
    def forward(self, poses, weight, activations=None):
        routed = super().forward(poses, weight)
        return routed._replace(activations=1 + routed.poses.norm(dim=2))


class _TooMuch(_Plain):
    leaky = True

    def couple(self, heard):
        return heard.square().sum(dim=3).sigmoid()


class _NoShares(_Plain):
    shares_presence = True


class _Squashed(_Plain):
    averages_votes = True


class _Persuaded(_Plain):
    decides_alone = True


class _ByMatrices(_Plain):
    def forward(self, poses, weight, activations=None):
        routed = super().forward(poses, weight)
        return routed._replace(poses=routed.poses / len(weight))


class _Superlinear(_OwnActivations):
    def forward(self, poses, weight, activations=None):
        heard = votes(poses, weight)
        shares = activations.square() / activations.square().sum(dim=1, keepdim=True)
        coupling = heard.square().sum(dim=3).softmax(dim=2)
        weights = shares.unsqueeze(2) * coupling
        total = torch.einsum("bij,bijd->bjd", weights, heard)
        return Routed(total, coupling, weights.sum(dim=1))


class _Overflowing(_Plain):
    def couple(self, heard):
        powers = (100 * heard.square().sum(dim=3)).clamp(max=200).exp()
        return powers / powers.sum(dim=2, keepdim=True)


class _Detached(_Plain):
    def couple(self, heard):
        return super().couple(heard).detach()

    def finish(self, total):
        return self.shorten(total.detach())


class _Single(_Plain):
    def finish(self, total):
        return self.shorten(total).float()


@pytest.mark.parametrize("routing", [_Plain, _OwnActivations])
def test_the_plain_routing_is_right(routing):
    check_routing(routing)


@pytest.mark.parametrize(
    ("routing", "law"),
    [
        (_OverChildren, "sum of the couplings over the parents: "),
        (_OverBatch, "independence of the images of a batch, poses: "),
        (_Turned, "rotation of the votes, poses: "),
        (_FirstChild, "permutation of the children, poses: "),
        (_FirstParent, "permutation of the parents, poses: "),
        (_Long, "lengths below 1: got "),
        (_Singular, "finite gradients, poses of zeros, torch.float64: "),
        (_Negative, "range of the couplings: they must be from 0 to 1, got -"),
        (_Transposed, "shapes: poses must be "),
        (_Single, "dtype: float64 became "),
        (_Detached, "finite gradients: an input gets none"),
        (_TooActive, "activations: they must be "),
        (_HearsTheAbsent, "a child with activation 0, poses: "),
        (_ActiveByBatch, "independence of the images of a batch, activations: "),
        (_ActiveByOrder, "permutation of the parents, activations: "),
        (_Favourite, "permutation of the dimensions, poses: "),
        (_TooMuch, "sum of the couplings over the parents: it must be at most 1, got "),
        (_NoShares, "sum of the activations: "),
        (_Squashed, "moved votes for a parent, poses: "),
        (_Persuaded, "decision of one child: "),
        (_ByMatrices, "one weight for all children, poses: "),
        (_Superlinear, "two halves of a child, poses: "),
        (_Overflowing, "one child, torch.float32: a value is infinite"),
    ],
)
def test_a_broken_routing_is_told_by_its_law(routing, law):
    with pytest.raises(AssertionError, match=f"^{law}"):
        check_routing(routing)


def test_a_wrong_softmax_in_the_table_is_refused(monkeypatch):
    monkeypatch.setitem(ROUTINGS, "wrong", _OverChildren)
    with pytest.raises(AssertionError, match=r"^sum of the couplings"):
        test_laws_of_every_routing("wrong")


def test_a_routing_without_forward():
    with pytest.raises(NotImplementedError, match="_Nothing must define forward"):
        check_routing(type("_Nothing", (Routing,), {}))


def test_parameters_of_its_own_are_checked():
    class Scaled(UniformRouting):
        def __init__(self, *sizes):
            super().__init__(*sizes)
            self.scale = nn.Parameter(torch.zeros(()))

        def forward(self, poses, weight, activations=None):
            routed = super().forward(poses, weight)
            return routed._replace(poses=routed.poses * self.scale.sqrt())

    with pytest.raises(AssertionError, match=r"^finite gradients: "):
        check_routing(Scaled)


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (lambda x: squash(x)[..., :2], "shape and dtype: "),
        (lambda x: squash(x.flip(-1)), "direction: "),
        (lambda x: 2 * squash(x), "length below 1: got "),
        (lambda x: squash(x) / (1 + x.norm(dim=-1, keepdim=True)), "growth with "),
        (lambda x: squash(x) / (1 + x.norm()), "independence of the vectors: "),
        (lambda x: torch.where(x == 0, 0.1, squash(x)), "zero stays zero: got "),
        (lambda x: squash(x) * (1 - torch.exp(-x.norm(dim=-1, keepdim=True).sqrt())),
         "finite gradients: one is"),
        (lambda x: squash(x.detach()), "finite gradients: an input gets none"),
    ],
)  # fmt: skip
def test_a_broken_squash_is_told_by_its_law(broken, law):
    with pytest.raises(AssertionError, match=f"^{law}"):
        check_squash(broken)


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (lambda a, t, w: (a - t).abs(), "one number: got the shape "),
        (lambda a, t, w: margin_loss(a, t, w) - 10, "at least 0: got -"),
        (lambda a, t, w: margin_loss(a, 1 - t, w), "a right answer costs less: "),
        (lambda a, t, w: margin_loss(a, t, w) + a[0].sum(), "order of the images: "),
        (lambda a, t, w: margin_loss(a, t, w) + a[:, 0].mean(), "order of the classes"),
        (lambda a, t, w: len(a) * margin_loss(a, t, w), "mean over the images: "),
        (lambda a, t, w: margin_loss(a, t), "weights of the images: "),
        (lambda a, t, w: margin_loss(a, t, w) + 1e-3 * _root(a, w), "finite gradients"),
        (lambda a, t, w: margin_loss(a.detach(), t, w), "finite gradients: an input"),
    ],
)
def test_a_broken_loss_is_told_by_its_law(broken, law):
    with pytest.raises(AssertionError, match=f"^{law}"):
        check_loss(broken)


def _root(found, weight):
    roots = found.square().sum(dim=1).sqrt()
    return (roots if weight is None else weight * roots).mean()


class _Black(nn.Module):
    def __init__(self, n_inputs, image_shape):
        super().__init__()
        self.image_shape = image_shape
        self.layer = DenseDecoder(n_inputs, image_shape)

    def forward(self, poses):
        return self.layer(poses) * 0


class _Wide(_Black):
    def forward(self, poses):
        return self.layer(poses) * 3 - 1


class _Flat(_Black):
    def forward(self, poses):
        return self.layer(poses).flatten(1)


class _Mixed(_Black):
    def forward(self, poses):
        return self.layer(poses) * 0.5 + self.layer(poses).mean(dim=0) * 0.5


class _Blind(_Black):
    def forward(self, poses):
        return self.layer(poses.detach())


class _Normed(_Black):
    def forward(self, poses):
        capsules = poses.unflatten(1, (2, 4))
        return self.layer((capsules / capsules.norm(dim=2, keepdim=True)).flatten(1))


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (_Black, "other poses, another image: "),
        (_Wide, "values from 0 to 1: got "),
        (_Flat, r"shape: images must be \(3, 1, 28, 28\), got \(3, 784\)"),
        (_Mixed, "independence of the images: "),
        (_Blind, "finite gradients: an input gets none"),
        (_Normed, "values from 0 to 1: got nan"),
    ],
)
def test_a_broken_decoder_is_told_by_its_law(broken, law):
    with pytest.raises(AssertionError, match=f"^{law}"):
        check_decoder(broken)
