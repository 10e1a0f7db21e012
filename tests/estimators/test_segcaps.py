import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import skcaps
from skcaps import SegCapsSegmenter
from skcaps.estimators._patches import PatchDataset
from skcaps.estimators._tiles import run_in_tiles
from skcaps.metrics import dice_score
from skcaps.nn import segcaps

from ._small import assert_same_weights, differ, weights_of

RNG = np.random.default_rng(0)


def squares(n, side=12):
    """Bright squares of two kinds on noise."""
    y = np.zeros((n, side, side), dtype=int)
    for number, mask in enumerate(y):
        row, column = RNG.integers(side // 2, size=2)
        mask[row : row + side // 2, column : column + side // 2] = 1 + number % 2
    return y + RNG.normal(scale=0.1, size=y.shape), y


X, Y = squares(6)
ONE = (Y > 0).astype(int)


def make(**params):
    params = {"variant": "encoder", "max_epochs": 1, "random_state": 0, **params}
    return SegCapsSegmenter(**params)


@pytest.fixture(scope="module")
def fitted():
    return make(max_epochs=3).fit(X, Y)


pytestmark = pytest.mark.filterwarnings(
    "ignore:The network has learned nothing:sklearn.exceptions.ConvergenceWarning"
)


# --- results --------------------------------------------------------------------------


def test_learns():
    images, masks = squares(16)
    segmenter = make(max_epochs=8, learning_rate=5e-3).fit(images, masks > 0)
    assert segmenter.score(*[X, Y > 0]) > 0.9
    assert segmenter.predict(X).dtype == bool


def test_returns_a_value_for_each_pixel(fitted):
    assert_array_equal(fitted.classes_, [0, 1, 2])
    assert fitted.background_label_ == 0
    assert fitted.lengths(X).shape == (6, 12, 12, 2)
    assert fitted.poses(X).shape == (6, 12, 12, 2, 16)
    assert fitted.predict_proba(X).shape == (6, 12, 12, 3)
    assert fitted.predict(X).shape == (6, 12, 12)
    assert fitted.reconstruct(X).shape == X.shape


def test_values_belong_together(fitted):
    lengths, proba = fitted.lengths(X), fitted.predict_proba(X)
    assert_allclose(np.linalg.norm(fitted.poses(X), axis=-1), lengths, rtol=1e-5)
    odds = lengths / (1 - lengths)
    assert_allclose(
        proba[..., 1:], odds / (1 + odds.sum(axis=-1, keepdims=True)), rtol=1e-4
    )
    assert_allclose(proba.sum(axis=-1), 1, rtol=1e-5)
    longest = np.where(lengths.max(axis=-1) > 0.5, lengths.argmax(axis=-1) + 1, 0)
    assert_array_equal(fitted.predict(X), longest)


def test_one_length_is_the_probability_of_its_class():
    segmenter = make().fit(X, ONE)
    proba = segmenter.predict_proba(X)[..., 1]
    assert_allclose(proba, segmenter.lengths(X)[..., 0], rtol=1e-5)


def test_score_is_the_mean_dice_of_the_classes(fitted):
    assert fitted.score(X, Y) == dice_score(Y, fitted.predict(X))


@pytest.mark.parametrize(
    ("masks", "dtype"),
    [
        (np.array(["background", "cell", "edge"])[Y], "<U10"),
        (np.array(["background", "cell", "edge"], dtype=object)[Y], object),
        (Y.astype(np.uint8) * 100, np.uint8),
        (Y.astype(float), float),
    ],
)
def test_labels_of_any_type_give_the_same_result(fitted, masks, dtype):
    segmenter = make(max_epochs=3).fit(X, masks)
    assert_same_weights(segmenter, fitted)
    found = segmenter.predict(X)
    assert found.dtype == dtype
    assert_array_equal(found, segmenter.classes_[fitted.predict(X)])
    assert segmenter.score(X, masks) == fitted.score(X, Y)


def test_relabelled_classes_permute_the_output(fitted):
    segmenter = make(max_epochs=3)
    segmenter.fit(X, np.array([5, 6, 7])[Y])
    assert_same_weights(segmenter, fitted)
    assert segmenter.background_label_ == 5
    segmenter = make(max_epochs=3, background_label=9).fit(X, np.array([9, 3, 4])[Y])
    assert_same_weights(segmenter, fitted)
    order = np.array([9, 3, 4])
    assert_array_equal(segmenter.predict(X), order[fitted.predict(X)])
    assert_allclose(
        segmenter.predict_proba(X), fitted.predict_proba(X)[..., [1, 2, 0]], rtol=1e-5
    )


def test_flat_images_and_masks():
    flat = make().fit(X.reshape(6, -1), Y.reshape(6, -1))
    assert flat.predict(X.reshape(6, -1)).shape == (6, 144)
    assert flat.score(X, Y) == flat.score(X.reshape(6, -1), Y.reshape(6, -1))
    whole = make().fit(X, Y)
    assert_same_weights(flat, whole)
    assert flat.reconstruct(X.reshape(6, -1)).shape == (6, 144)


@pytest.mark.parametrize("shape", [(3, 10, 7), (1, 1, 5)])
def test_images_of_any_shape(shape):
    images = RNG.random((4, *shape))
    masks = (images.mean(axis=1) > 0.5).astype(int)
    segmenter = make().fit(images, masks)
    assert segmenter.predict(images).shape == masks.shape
    assert segmenter.reconstruct(images, masks).shape == images.shape
    last = np.moveaxis(images, 1, -1)
    layout = dict(zip(("height", "width", "channels"), last.shape[1:], strict=True))
    assert_same_weights(make(image_shape=layout).fit(last, masks), segmenter)


def test_decodes_nothing_where_the_background_is():
    segmenter = make(max_epochs=2).fit(X, Y)
    nothing = segmenter.reconstruct(X, np.zeros_like(Y))
    # Each pixel has the same pose, zero.
    assert np.ptp(nothing) == 0
    assert np.ptp(segmenter.reconstruct(X, Y)) > 0
    assert_array_equal(
        segmenter.reconstruct(X), segmenter.reconstruct(X, segmenter.predict(X))
    )


# --- laws -----------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["r3", "encoder", "basic"])
def test_tiles_equal_the_whole(variant):
    torch.manual_seed(0)
    network = segcaps((1, 8, 8), 1, variant=variant, decoder=None).double().eval()
    side = 2 * network.context + 28
    images = torch.rand(1, 1, 10, side, dtype=torch.float64)
    seen = []

    def find(tile):
        seen.append(tuple(tile.shape[-2:]))
        return network(tile).poses

    with torch.inference_mode():
        tiled = run_in_tiles(find, images, network, 8)
        whole = network(images).poses
    assert len(seen) > 3
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-12)


def test_tile_size_changes_no_prediction():
    images, masks = (np.tile(part, (1, 1, 15)) for part in squares(1, side=12))
    segmenter = make(patch_size=16).fit(images, masks)
    whole = segmenter.lengths(images)
    tiled = segmenter.set_params(tile_size=16).lengths(images)
    assert not np.array_equal(tiled, np.roll(tiled, 1, axis=2))
    assert_allclose(tiled, whole, atol=1e-5)


@pytest.mark.parametrize("loss", ["cross_entropy", "margin", "dice"])
def test_unknown_pixels_change_no_weight(loss):
    masks = Y.copy()
    masks[:, ::2] = -1
    segmenter = make(loss=loss).fit(X, masks)
    assert_array_equal(segmenter.classes_, [0, 1, 2])
    # What is said of them is not read.
    other = make(loss=loss, ignore_label=7).fit(X, np.where(masks < 0, 7, masks))
    assert_same_weights(segmenter, other)
    assert differ(segmenter, make(loss=loss).fit(X, Y))
    assert segmenter.score(X, masks) == dice_score(masks, segmenter.predict(X))


def test_unknown_text_labels():
    names = np.array(["background", "cell", "?"])
    masks = names[np.where(RNG.random(Y.shape) < 0.3, 2, ONE)]
    segmenter = make(ignore_label="?").fit(X, masks)
    assert_array_equal(segmenter.classes_, ["background", "cell"])
    assert 0 <= segmenter.score(X, masks) <= 1


def test_one_foreground_class_has_no_use_for_iterations_of_the_last_layer():
    segmenter = make().fit(X, ONE)
    before = segmenter.lengths(X)
    segmenter.network_.classes.iterations = 9
    assert_array_equal(segmenter.lengths(X), before)


def test_balanced_weights_are_those_of_the_inverse_frequencies():
    counts = np.bincount(Y.ravel())
    weights = {label: 1 / count for label, count in enumerate(counts)}
    balanced = make(class_weight="balanced").fit(X, Y)
    assert_same_weights(balanced, make(class_weight=weights).fit(X, Y))
    assert differ(balanced, make().fit(X, Y))


# --- training -------------------------------------------------------------------------


def test_an_epoch_has_the_patches_that_cover_the_images():
    seen = []

    def look(images, masks):
        seen.append(tuple(images.shape))
        return images, masks

    make(patch_size=8, batch_size=24, augmentation=look).fit(X, Y)
    assert seen == [(24, 1, 8, 8)]


def test_patches_of_images_and_masks_are_from_one_place():
    def look(images, masks):
        assert_array_equal(images[:, 0] > 0.5, masks > 0)
        return images, masks

    make(patch_size=7, augmentation=look).fit(ONE * 0.9, ONE)


def test_held_out_patches_cover_the_image():
    segmenter = make().fit(X, Y)
    rows = np.arange(2 * 144.0).reshape(2, 144)
    dataset = PatchDataset(
        rows,
        np.zeros((2, 144), np.int16),
        None,
        layout=segmenter._fitted.layout,
        input_range=(0, 1),
        labels=segmenter._fitted.labels,
        machine=segmenter._fitted.machine,
        patch_size=5,
    )
    train, valid = dataset.split(0.5, 0)
    assert len(train) == len(valid) == 9
    batches = [valid.batch(torch.arange(9)).images for _ in range(2)]
    assert torch.equal(*batches)
    assert batches[0].shape == (9, 1, 5, 5)
    assert len(batches[0].unique()) == 144


def test_augmentation_moves_image_and_mask_together():
    images = (Y > 0) * 0.9
    pairs = []

    def flip(images, masks):
        pairs.append((images.flip(3), masks.flip(2)))
        return pairs[-1]

    segmenter = make(augmentation=flip).fit(images, ONE)
    for part, masks in pairs:
        assert_array_equal(part[:, 0] > 0, masks > 0)
    assert segmenter.n_epochs_ == 1


@pytest.mark.parametrize("augmentation", ["flip", "turn", "affine"])
def test_named_augmentations(augmentation):
    assert differ(make(augmentation=augmentation).fit(X, Y), make().fit(X, Y))


def test_partial_fit_goes_on():
    segmenter = make().partial_fit(X, Y, classes=[0, 1, 2])
    before = weights_of(segmenter)
    segmenter.partial_fit(X[:2], ONE[:2])
    assert segmenter.n_epochs_ == 2
    after = weights_of(segmenter)
    assert any(not np.array_equal(before[name], after[name]) for name in before)


def test_early_stopping_holds_out_images():
    segmenter = make(early_stopping=True, max_epochs=2, patch_size=8).fit(X, Y)
    assert {"valid_loss", "valid_accuracy"} <= segmenter.history_[0].keys()


def test_warm_start_and_checkpoint(tmp_path):
    path = tmp_path / "kept"
    segmenter = make(warm_start=True, checkpoint=path).fit(X, Y)
    assert not path.exists()
    assert segmenter.fit(X, Y).n_epochs_ == 2


def test_same_seed_same_weights():
    assert_same_weights(make().fit(X, Y), make().fit(X, Y))
    assert differ(make().fit(X, Y), make(random_state=1).fit(X, Y))


def test_says_that_nothing_was_learned():
    rare = np.zeros_like(Y)
    rare[:, 0, 0] = 1
    message = "all pixels of 6 training patches are called 0, and"
    with pytest.warns(ConvergenceWarning, match=message):
        make(max_epochs=8, learning_rate=5e-3).fit(X, rare)


# --- scikit-learn ---------------------------------------------------------------------


def test_search_cross_validation_and_pipeline():
    search = GridSearchCV(make(), {"loss": ["margin", "dice"]}, cv=2).fit(X, Y)
    assert search.predict(X).shape == Y.shape
    assert len(cross_val_score(make(), X, Y, cv=2)) == 2
    pipeline = make_pipeline(FunctionTransformer(np.sqrt), make())
    assert pipeline.fit(abs(X), Y).score(abs(X), Y) > 0
    with pytest.raises(NotFittedError):
        clone(search.best_estimator_).predict(X)


def test_pickled_and_saved(fitted, tmp_path):
    skcaps.save(fitted, tmp_path / "kept")
    for copied in (
        pickle.loads(pickle.dumps(fitted)),
        skcaps.load(tmp_path / "kept"),
    ):
        assert_array_equal(copied.predict(X), fitted.predict(X))
        assert_array_equal(copied.lengths(X), fitted.lengths(X))


def test_saved_text_labels(tmp_path):
    masks = np.array(["road", "background"])[ONE]
    segmenter = make().fit(X, masks)
    skcaps.save(segmenter, tmp_path / "kept")
    loaded = skcaps.load(tmp_path / "kept")
    assert loaded.background_label_ == "background"
    assert_array_equal(loaded.predict(X), segmenter.predict(X))


def test_saved_options_have_to_fit(fitted, tmp_path):
    segmenter = pickle.loads(pickle.dumps(fitted))
    object.__setattr__(segmenter._fitted.labels, "background", 3)
    with pytest.raises(ValueError, match="label_options must name one of 3 classes"):
        skcaps.save(segmenter, tmp_path / "kept")


# --- bad input ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (Y[:, :6], r"masks of shape \(12, 12\) .* got \(6, 12\)"),
        (Y[:, :, :6].reshape(6, -1), r"or rows of 144, got \(72,\)"),
        (Y[:4], "inconsistent numbers of samples"),
        (Y[:, 0, 0], r"y must hold a mask for each image, .* got shape \(6,\)"),
        (
            Y[:, None],
            r"y must hold a mask for each image, .* got shape \(6, 1, 12, 12\)",
        ),
        (np.zeros((0, 12, 12), int), r"y must hold a mask for each image"),
        (np.full_like(Y, -1), "must have a labelled pixel, got only ignore_label=-1"),
        (np.zeros_like(Y), "at least 2 classes, one of them the background; got 1"),
        (X, "whole numbers or strings, got continuous values"),
        (np.where(Y, np.nan, 1.0), "whole numbers or strings, got continuous values"),
        (np.arange(6 * 144).reshape(Y.shape), "at most 256 classes, got 864"),
        (None, "requires y to be passed, but the target y is None"),
    ],
)
def test_says_what_is_wrong_with_masks(masks, message):
    with pytest.raises(ValueError, match=message):
        make().fit(X, masks)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"variant": "r2"}, "'variant' parameter .* Got 'r2'"),
        ({"loss": "spread"}, "'loss' parameter .* Got 'spread'"),
        ({"background_label": 4}, r"background_label must be one of .* got 4"),
        ({"class_weight": {3: 1.0}}, r"class_weight must name labels of y, .* got 3"),
        ({"class_weight": {1: -1.0}}, "not negative, got -1.0 for class 1"),
        ({"class_weight": dict.fromkeys(range(3), 0)}, "positive weight for a class"),
        ({"class_weight": {1: 0, 2: 0}}, "other than the background, got none"),
        ({"augmentation": lambda x, y: x}, "map images and masks to two tensors"),
        ({"augmentation": lambda x, y: None}, "to two tensors .* got NoneType"),
        ({"augmentation": lambda x, y: (x, None)}, r"two tensors .* the shapes \["),
        ({"augmentation": lambda x, y: (x, y + 9)}, "numbers from -1 to 2, got"),
        ({"augmentation": lambda x, y: (x / 0, y)}, "must return finite images"),
        ({"early_stopping": True, "validation_fraction": 0.99}, "are too few"),
        ({"patch_size": True}, "'patch_size' parameter .* must not be a boolean"),
    ],
)
def test_says_what_is_wrong_with_parameters(params, message):
    with pytest.raises(ValueError, match=message):
        make(**params).fit(X, Y)


def test_says_what_is_wrong_later(fitted):
    with pytest.raises(ValueError, match=r"labels \[6, 12\] that are not"):
        fitted.reconstruct(X, Y + 5 * Y)
    with pytest.raises(ValueError, match="a mask for each of 6 images, got 2"):
        fitted.reconstruct(X, Y[:2])
    with pytest.raises(ValueError, match=r"masks of shape \(12, 12\)"):
        fitted.score(X, Y[:, :6])
    with pytest.raises(ValueError, match="X must hold images of shape"):
        fitted.predict(X[:, :6])
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        make().partial_fit(X, Y)
    with pytest.raises(ValueError, match=r"classes must not hold ignore_label=-1, got"):
        make().partial_fit(X, Y, classes=[-1, 0, 1, 2])
    with pytest.raises(ValueError, match='no decoder; fit it with decoder="pixel"'):
        make(decoder=None).fit(X, Y).reconstruct(X)
    with pytest.raises(ValueError, match="parameters variant have changed"):
        clone(fitted).set_params(warm_start=True).fit(X, Y).set_params(
            variant="r1"
        ).fit(X, Y)
