import itertools

import numpy as np
import pytest
import torch
from torch import nn

from skcaps import CapsNetClassifier
from skcaps.inspection import CouplingDisplay
from skcaps.inspection._receptive_fields import spread_over_image

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def fit(rng, shape, **params):
    X, y = rng.random((18, *shape)), np.array(["a", "b", "c"] * 6)
    params = {"conv_channels": 4, "primary_capsules": 3, "decoder": None, **params}
    return CapsNetClassifier(max_epochs=1, random_state=0, **params).fit(X, y), X, y


@pytest.fixture(scope="module")
def fitted():
    return fit(np.random.default_rng(0), (10, 12))


def gradient_of_ones(network, shape, place):
    """How often each pixel is read, by the gradient of convolutions of ones."""
    image = torch.zeros((1, 1, *shape), dtype=torch.float64, requires_grad=True)
    found = image
    for conv in (network.stem.conv, network.primary.conv):
        ones = torch.ones((1, 1, *conv.kernel_size), dtype=torch.float64)
        found = nn.functional.conv2d(found, ones, stride=conv.stride)
    found[(0, 0, *place)].backward()
    return image.grad[0, 0].numpy()


def test_places_are_spread_over_what_they_read(fitted, rng):
    network = fitted[0].network_
    rows, columns = network.primary.grid
    weights = rng.random((rows, columns))
    places = list(itertools.product(range(rows), range(columns)))
    ways = [gradient_of_ones(network, (10, 12), place) for place in places]
    total = sum(w * way for w, way in zip(weights.ravel(), ways, strict=True))
    expected = total / sum(ways)
    found = spread_over_image(weights, network, (1, 10, 12))
    np.testing.assert_allclose(found, expected)


def test_pixels_that_are_not_read_have_no_value():
    classifier = CapsNetClassifier(
        max_epochs=1, conv_channels=2, primary_capsules=1, decoder=None
    )
    X = np.random.default_rng(0).random((6, 28, 28))
    network = classifier.fit(X, [0, 1] * 3).network_
    found = spread_over_image(np.ones((6, 6)), network, (1, 28, 28))
    assert np.isnan(found[27]).all()
    assert np.isnan(found[:, 27]).all()
    np.testing.assert_allclose(found[:27, :27], 1)


def test_stems_of_ones_own_cut_the_image_evenly(rng):
    stem = nn.Conv2d(1, 4, 2, 2)
    classifier, X, _ = fit(rng, (12, 12), stem=stem, kernel_size=3)
    network = classifier.network_
    weights = rng.random(network.primary.grid)
    found = spread_over_image(weights, network, (1, 12, 12))
    pairs = found.reshape(6, 2, 6, 2)
    np.testing.assert_allclose(pairs, pairs[:, :1, :, :1] * np.ones((1, 2, 1, 2)))
    assert CouplingDisplay.from_estimator(classifier, X).maps.shape == (10, 1, 12, 12)


def test_maps_are_couplings_times_activations(fitted):
    classifier, X, _ = fitted
    display = CouplingDisplay.from_estimator(
        classifier, X, votes_for=["c", "a"], n_images=2
    )
    network = classifier.network_
    with torch.no_grad():
        low, high = classifier.input_range_
        unit = torch.from_numpy((X[:2, None] - low) / (high - low)).float()
        activations = network.encode(unit).norm(dim=2).numpy()
    couplings = classifier.couplings(X[:2])
    rows, columns = network.primary.grid
    for image, (m, label) in itertools.product(range(2), enumerate([2, 0])):
        weights = np.zeros((rows, columns))
        for caps in range(rows * columns * 3):
            place = divmod(caps // 3, columns)
            share = couplings[image, caps, label] * activations[image, caps]
            weights[place] += share
        expected = spread_over_image(weights, network, (1, 10, 12))
        np.testing.assert_allclose(display.maps[image, m], expected, rtol=1e-5)
    assert display.map_names == ["votes for c", "votes for a"]
    assert display.pictures_.shape == (3, 2)


def test_most_active_class_is_the_default(fitted):
    classifier, X, y = fitted
    display = CouplingDisplay.from_estimator(classifier, X, y, n_images=5)
    every = CouplingDisplay.from_estimator(
        classifier, X, votes_for=["a", "b", "c"], n_images=5
    )
    most = classifier.activations(X[:5]).argmax(axis=1)
    np.testing.assert_array_equal(display.maps[:, 0], every.maps[np.arange(5), most])
    np.testing.assert_array_equal(display.y_pred, classifier.predict(X[:5]))
    entropies = [f"{e:.2f}" for e in classifier.coupling_entropy(X[:5])]
    texts = [text.get_text() for text in display.ax_.texts]
    assert texts[10:15] == entropies
    assert texts[-5:] == [
        "image",
        "votes for predicted",
        "true class",
        "predicted",
        "entropy",
    ]


@pytest.mark.parametrize("shape", [(3, 10, 10), (2, 10, 10), (1, 1, 30)])
def test_maps_over_other_images(rng, shape):
    classifier, X, _ = fit(rng, shape)
    display = CouplingDisplay.from_estimator(classifier, X, n_images=2)
    assert display.maps.shape == (2, 1, *shape[1:])


def test_hidden_capsules_have_no_place(rng):
    classifier, X, _ = fit(rng, (10, 10), hidden_capsules=((5, 4),))
    display = CouplingDisplay.from_estimator(classifier, X, n_images=2)
    np.testing.assert_array_equal(display.maps[:, 0], classifier.couplings(X[:2]))
    assert display.map_names == ["capsules x classes"]
    assert display.pictures_[1, 0].get_array().shape == (5, 3)
    with pytest.raises(ValueError, match=r"votes_for must be None, got .* of a grid"):
        CouplingDisplay.from_estimator(classifier, X, votes_for=["a"])


def test_unknown_class(fitted):
    with pytest.raises(ValueError, match=r"votes_for must hold classes .* got \['d'\]"):
        CouplingDisplay.from_estimator(*fitted[:2], votes_for=["a", "d"])


@pytest.mark.parametrize("colorbar", [True, False])
def test_colorbar(colorbar):
    display = CouplingDisplay(np.ones((1, 1, 4, 3)), classes=[0, 1, 2])
    display.plot(colorbar=colorbar)
    assert (display.colorbar_ is not None) == colorbar
    assert len(display.ax_.child_axes) == colorbar


def test_all_maps_have_one_scale():
    maps = np.array([0.0, 0.5, 2.0]).reshape(3, 1, 1, 1) * np.ones((1, 1, 4, 4))
    display = CouplingDisplay(maps).plot()
    limits = {picture.get_clim() for picture in display.pictures_.flat}
    assert limits == {(0.0, 2.0)}


def test_even_couplings_are_in_the_middle_of_the_scale():
    display = CouplingDisplay(np.full((1, 1, 4, 2), 0.5), classes=[0, 1]).plot()
    assert display.pictures_[0, 0].get_clim() == (0.0, 1.0)
