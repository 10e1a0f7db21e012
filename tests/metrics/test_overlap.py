import tracemalloc

import numpy as np
import pytest
import sklearn.metrics
from sklearn.exceptions import UndefinedMetricWarning

from skcaps.metrics import _labels, dice_score, jaccard_score

SHAPE = (5, 6, 7)
SCORES = [dice_score, jaccard_score]
# Of the raveled masks, the score of scikit-learn.
PAIRS = [
    (dice_score, sklearn.metrics.f1_score),
    (jaccard_score, sklearn.metrics.jaccard_score),
]
NAMES = np.array(["sky", "sea", "earth", "fire"])
KINDS = {
    "uint8": lambda codes: codes.astype(np.uint8),
    "int64": lambda codes: 1_000_000_007 * codes - 5,
    "float32": lambda codes: codes.astype(np.float32),
    "names": lambda codes: NAMES[codes],
    "objects": lambda codes: NAMES[codes].astype(object),
    "view": lambda codes: np.repeat(codes, 2, axis=-1)[..., ::2],
}


@pytest.fixture
def masks(rng):
    """Two masks of four labels, half of whose pixels agree by more than chance."""
    true = rng.integers(0, 4, SHAPE)
    predicted = np.where(rng.random(SHAPE) < 0.5, true, rng.integers(0, 4, SHAPE))
    return true, predicted


def by_sets(score, true, predicted, label):
    """The textbook's formula, on sets of places."""
    A = {place for place, value in np.ndenumerate(true) if value == label}
    B = {place for place, value in np.ndenumerate(predicted) if value == label}
    if score is dice_score:
        return 2 * len(A & B) / (len(A) + len(B))
    return len(A & B) / len(A | B)


@pytest.mark.parametrize("score", SCORES)
def test_score_of_each_class_is_that_of_its_sets(masks, score):
    expected = [by_sets(score, *masks, label) for label in range(4)]
    np.testing.assert_allclose(score(*masks, average=None), expected, rtol=1e-15)


@pytest.mark.parametrize(("score", "theirs"), PAIRS)
@pytest.mark.parametrize("average", ["macro", "micro", "weighted", None])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chosen", [None, [2], [3, 0]])
def test_equals_scikit_learn_on_raveled_masks(
    masks, score, theirs, average, kind, chosen
):
    true, predicted = map(KINDS[kind], masks)
    labels = None if chosen is None else KINDS[kind](np.array(chosen))
    options = {"average": average, "labels": labels}
    found = score(true, predicted, ignore_label=None, **options)
    expected = theirs(true.ravel(), predicted.ravel(), **options)
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    assert type(found) is type(expected)


@pytest.mark.parametrize(("score", "theirs"), PAIRS)
@pytest.mark.parametrize("average", ["macro", "micro", "weighted", None])
def test_weights_equal_those_of_pixels(rng, masks, score, theirs, average):
    weight = rng.random(len(masks[0]))
    pixels = np.repeat(weight, masks[0][0].size)
    found = score(*masks, average=average, sample_weight=weight)
    raveled = (mask.ravel() for mask in masks)
    expected = theirs(*raveled, average=average, sample_weight=pixels)
    np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.parametrize(("score", "theirs"), PAIRS)
@pytest.mark.parametrize("pos_label", ["sky", "sea"])
def test_binary_equals_scikit_learn(masks, score, theirs, pos_label):
    true, predicted = (NAMES[mask % 2] for mask in masks)
    options = {"average": "binary", "pos_label": pos_label}
    found = score(true, predicted, **options)
    assert found == pytest.approx(theirs(true.ravel(), predicted.ravel(), **options))


@pytest.mark.parametrize(("score", "theirs"), PAIRS)
@pytest.mark.parametrize("zero_division", [0.0, 1.0])
@pytest.mark.parametrize("average", ["macro", "weighted", None])
def test_absent_class_equals_scikit_learn(masks, score, theirs, zero_division, average):
    options = {
        "labels": [0, 1, 9],
        "average": average,
        "zero_division": zero_division,
    }
    expected = theirs(*(mask.ravel() for mask in masks), **options)
    np.testing.assert_allclose(score(*masks, **options), expected, rtol=1e-14)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_no_true_pixel_of_the_classes(average):
    true, predicted = np.zeros((1, 4), int), np.array([[0, 0, 1, 2]])
    options = {"labels": [1, 2], "average": average, "zero_division": 0.0}
    assert dice_score(true, predicted, **options) == 0
    assert sklearn.metrics.f1_score(true[0], predicted[0], **options) == 0


def test_undefined_class_is_left_out(masks):
    options = {"labels": [0, 9], "zero_division": np.nan}
    expected = dice_score(*masks, labels=[0])
    assert dice_score(*masks, **options) == expected
    each = dice_score(*masks, **options, average=None)
    np.testing.assert_array_equal(each, [expected, np.nan])
    assert np.isnan(dice_score(*masks, labels=[9], zero_division=np.nan))


@pytest.mark.parametrize("score", SCORES)
def test_undefined_class_is_told(masks, score):
    with pytest.warns(UndefinedMetricWarning, match="0 for 1 of 2; pass zero") as told:
        assert score(*masks, labels=[0, 9], average=None)[1] == 0
    # Of the line that asked for the score.
    assert told[0].filename == __file__


@pytest.mark.parametrize("weight", [None, [1.0, 0.0, 2.0, 0.5, 3.0]])
@pytest.mark.parametrize("score", SCORES)
def test_samples_is_the_average_of_images(masks, score, weight):
    each = [score(*pair) for pair in zip(*masks, strict=True)]
    found = score(*masks, average="samples", sample_weight=weight)
    assert found == pytest.approx(np.average(each, weights=weight), rel=1e-14)


def test_samples_by_hand():
    true = np.array([[0, 0, 0, 1], [0, 0, 0, 0]])
    predicted = np.array([[0, 0, 1, 1], [0, 0, 0, 0]])
    # Of class 0, then of class 1, which the second image lacks.
    images = [(4 / 5 + 2 / 3) / 2, 1.0]
    options = {"average": "samples", "zero_division": np.nan}
    assert dice_score(true, predicted, **options) == pytest.approx(np.mean(images))
    options["zero_division"] = 0.0
    images[1] = 0.5
    assert dice_score(true, predicted, **options) == pytest.approx(np.mean(images))


def test_samples_of_one_pixel_are_the_accuracy(masks):
    true, predicted = (mask.ravel() for mask in masks)
    found = dice_score(true, predicted, average="samples", zero_division=np.nan)
    assert found == pytest.approx((true == predicted).mean())


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_jaccard_follows_from_dice(masks, average):
    """J = D / (2 - D), of each class and of all pixels, not of averages."""
    dice = dice_score(*masks, average=None)
    expected = dice / (2 - dice)
    np.testing.assert_allclose(jaccard_score(*masks, average=None), expected)
    weights = np.bincount(masks[0].ravel()) if average == "weighted" else None
    if average == "micro":
        dice = dice_score(*masks, average="micro")
        expected = np.array([dice / (2 - dice)])
    wanted = np.average(expected, weights=weights)
    assert jaccard_score(*masks, average=average) == pytest.approx(wanted)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("average", ["macro", "micro", "weighted", "samples", None])
@pytest.mark.parametrize("unknown", [-1, 255, "?"], ids=["default", "number", "name"])
def test_ignored_pixels_do_not_count(masks, score, average, unknown):
    """As if they were not there: they lie at the end of every row."""
    true, predicted = masks
    if unknown == "?":
        true, predicted = NAMES[true], NAMES[predicted]
    expected = score(true, predicted, average=average)
    more = np.full((5, 6, 3), unknown)
    wrong = "sea, which the masks lack" if unknown == "?" else 77
    true = np.concatenate([true, more], axis=2)
    predicted = np.concatenate([predicted, np.full((5, 6, 3), wrong)], axis=2)
    found = score(true, predicted, average=average, ignore_label=unknown)
    np.testing.assert_allclose(found, expected, rtol=1e-15)


@pytest.mark.parametrize("score", SCORES)
def test_image_without_known_pixels_is_left_out(masks, score):
    true, predicted = masks
    true[2] = -1
    found = score(true, predicted, average="samples", zero_division=np.nan)
    kept = [0, 1, 3, 4]
    assert found == pytest.approx(score(true[kept], predicted[kept], average="samples"))


def test_numbers_of_two_types_are_compared(masks):
    true, predicted = masks
    found = dice_score(true > 0, (predicted > 0).astype(np.float64))
    assert found == dice_score(true > 0, predicted > 0)


@pytest.mark.parametrize("average", ["macro", "samples"])
def test_lists_are_taken(average):
    assert dice_score([["a", "b"]], [["a", "b"]], average=average) == 1


@pytest.mark.parametrize("average", ["macro", "micro", "weighted", "samples", None])
@pytest.mark.parametrize("weight", [None, np.arange(5.0)])
def test_blocks_make_no_difference(masks, monkeypatch, average, weight):
    masks[0][:, 0] = -1
    options = {"average": average, "sample_weight": weight}
    expected = dice_score(*masks, **options)
    monkeypatch.setattr(_labels, "BLOCK", 2 * 6 * 7)
    np.testing.assert_allclose(dice_score(*masks, **options), expected, rtol=1e-15)


def test_order_of_labels_is_that_of_the_scores(masks):
    each = dice_score(*masks, average=None)
    found = dice_score(*masks, average=None, labels=[2, 0])
    np.testing.assert_array_equal(found, each[[2, 0]])


def test_memory_is_that_of_a_block(monkeypatch):
    monkeypatch.setattr(_labels, "BLOCK", 1 << 14)
    true = np.zeros((64, 256, 256), np.uint8)
    true[:, :100] = 1
    tracemalloc.start()
    assert dice_score(true, true) == 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < true.size


def test_masks_are_left_alone(masks):
    masks[0][0] = -1
    copies = [mask.copy() for mask in masks]
    dice_score(*masks)
    np.testing.assert_array_equal(masks, copies)


def check(match, y_true=((0, 1),), y_pred=((0, 1),), **options):
    with pytest.raises(ValueError, match=match):
        dice_score(y_true, y_pred, **options)


@pytest.mark.parametrize(
    ("y_true", "y_pred"),
    [(np.zeros((2, 3)), np.zeros(6)), (np.zeros((0, 3)),) * 2, (1, 1)],
    ids=["flat", "empty", "number"],
)
def test_wrong_shapes(y_true, y_pred):
    check(r"one shape \(n_samples, \.\.\.\), got \(", y_true, y_pred)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.25, "0.25"), (np.nan, "nan"), (np.inf, "inf"), (None, "None"), (1j, "[01]j")],
)
def test_what_is_no_label(value, shown):
    wrong = [[0, value]]
    check(f"y_pred must hold whole numbers or strings, got .*{shown}", y_pred=wrong)
    check(f"y_true must hold whole numbers or strings, got .*{shown}", y_true=wrong)


def test_objects_that_are_no_labels():
    wrong = np.empty((1, 2), dtype=object)
    wrong[:] = [[[], []]]
    check("y_true must hold whole numbers or strings, got other obj", y_true=wrong)


def test_numbers_and_names():
    check(
        "be numbers, or all strings, got 'a' and 0",
        y_true=[["a", "a"]],
        y_pred=[[0, 0]],
    )
    check("be numbers, or all strings, got 'a' and", labels=["a"])


def test_ignored_label_is_predicted():
    check("y_pred must not hold ignore_label, -1", y_pred=[[-1, 1]])


def test_nothing_to_score():
    check("y_true must hold a label to score, got ignore_", y_true=[[-1, -1]])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (
            {"average": "mean"},
            r"average must be one of \['macro', .* None\], got 'mean'",
        ),
        ({"labels": []}, "labels must be a list of at least one class, got"),
        ({"labels": 1}, "labels must be a list of at least one class, got 1"),
        ({"labels": [1, 1]}, r"name each class once, .* got \[1, 1\]"),
        ({"labels": [1, -1]}, r"and not ignore_label, -1, got \[1, -1\]"),
        ({"labels": [0.5]}, "labels must hold whole numbers or strings, got 0.5"),
        ({"average": "binary", "pos_label": 7}, "one of them pos_label, 7, got"),
        ({"sample_weight": [1, 2]}, r"hold 1 finite numbers, .* shape \(2,\)"),
        ({"sample_weight": [np.nan]}, "hold 1 finite numbers"),
        ({"zero_division": 0.5}, "zero_division must be .* got 0.5"),
        ({"zero_division": "no"}, "zero_division must be .* got 'no'"),
    ],
)
def test_wrong_options(options, match):
    check(match, **options)


def test_binary_with_three_labels(masks):
    with pytest.raises(ValueError, match=r"must hold two labels, .* \[0, 1, 2, 3\]"):
        dice_score(*masks, average="binary")
