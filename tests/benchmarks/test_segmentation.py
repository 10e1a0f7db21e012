import os
from types import SimpleNamespace

import numpy as np
import pytest
import segmentation
import segmentation_data as data
import segmentation_pictures as pictures
from segmentation import EXPERIMENTS, NETWORKS

from ._generated import digits

SMALL = ("SegCaps, encoder", "U-Net")


def membranes(subset="train", return_X_y=True):
    """Give slices with a bright square, one pixel of which tells the slice."""
    n, first = {"train": (6, 0), "test": (2, 6)}[subset]
    X = np.full((n, 20, 20), 40, dtype=np.uint8)
    X[:, 6:14, 5:15] = 200
    y = (X > 100).astype(np.uint8)
    X[:, 7, 7] += np.arange(first, first + n, dtype=np.uint8)
    return X, y


@pytest.fixture
def generated(monkeypatch):
    """Put a few small generated images in the place of the data sets."""
    for name, value in {
        "load_mnist": digits,
        "load_isbi2012": membranes,
        "N_PAIRS": {"train": 3, "held out": 2, "test": 8},
        "FIRST_HELD_OUT": 50,
        "TRAIN_SLICES": (0, 2),
        "HELD_OUT_SLICES": (4, 5),
        "SIDE": 10,
    }.items():
        monkeypatch.setattr(data, name, value)
    monkeypatch.setattr(segmentation, "alone", lambda call, *given: call(*given))
    monkeypatch.setattr(segmentation, "RATES", ("0.001", "0.01"))
    chosen = {name: NETWORKS[name] for name in SMALL}
    monkeypatch.setattr(segmentation, "NETWORKS", chosen)


def run(folder, seeds):
    segmentation.main(["--seeds", str(seeds), "--output", str(folder)])
    return segmentation.rows.read(folder / "segmentation.csv")


@pytest.mark.usefixtures("generated")
def test_a_run_is_whole_and_goes_on(tmp_path, monkeypatch):
    results = run(tmp_path, 1)
    assert [(row["experiment"], row["network"]) for row in results] == [
        (experiment, network) for experiment in EXPERIMENTS for network in SMALL
    ]
    for row in results:
        assert 0 <= float(row["dice"]) <= 1
        assert (row["dice_overlap"] != "") == (row["experiment"] == "digits")
        assert row["learning_rate"] in segmentation.RATES
        assert int(row["parameters"]) > 1_000_000
        assert float(row["seconds"]) > 0
    trials = segmentation.rows.read(tmp_path / "trials.csv")
    assert len(trials) == len(EXPERIMENTS) * len(SMALL) * len(segmentation.RATES)

    def fail(*given):
        pytest.fail(f"{given} again")

    monkeypatch.setattr(segmentation, "try_rate", fail)
    found = ("0.5", "", "no", "1.0", "20", "1000000")
    monkeypatch.setattr(segmentation, "measure", lambda *given: found)
    monkeypatch.setitem(EXPERIMENTS, "digits", EXPERIMENTS["membranes"])
    for path in tmp_path.glob("*u-net.npz"):
        path.unlink()
    again = run(tmp_path, 2)
    assert again[: len(results)] == results
    assert [row["seed"] for row in again[len(results) :]] == ["1"] * len(results)
    for experiment in EXPERIMENTS:
        table = (tmp_path / f"{experiment}.md").read_text()
        assert table.count("| 0, 1 |") == len(SMALL)
        picture = (tmp_path / f"{experiment}.png").read_bytes()
        assert picture.startswith(b"\x89PNG")


@pytest.mark.usefixtures("generated")
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_test_images_are_read_once_and_after_training(
    experiment, tmp_path, monkeypatch
):
    steps = []
    loaders = {"digits": "load_mnist", "membranes": "load_isbi2012"}
    load, fit = getattr(data, loaders[experiment]), segmentation.fit

    def note_load(subset="train", **given):
        steps.append(subset)
        return load(subset=subset, **given)

    def note_fit(*given):
        steps.append("fit")
        return fit(*given)

    monkeypatch.setattr(data, loaders[experiment], note_load)
    monkeypatch.setattr(segmentation, "fit", note_fit)
    segmentation.try_rate(experiment, "U-Net", "0.01")
    assert steps == ["train", "fit"]
    segmentation.measure(tmp_path, experiment, "U-Net", "1", "0.01")
    assert steps[2:] == ["train", "fit", "test"]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("network", NETWORKS)
def test_networks_differ_in_nothing_but_the_network(experiment, network):
    segmenter = NETWORKS[network](**EXPERIMENTS[experiment].parameters)
    segmenter._validate_params()
    other = NETWORKS["U-Net"](**EXPERIMENTS[experiment].parameters)
    kept = {"variant": None}
    assert {**segmenter.get_params(), **kept} == {**other.get_params(), **kept}


def test_held_out_pairs_have_digits_of_their_own(monkeypatch):
    """Each image is grey in a value of its own."""

    def greys(subset="train", return_X_y=True):
        values = np.arange(130, 190, dtype=np.uint8)
        return np.repeat(values[:, None], 784, axis=1), np.arange(60) % 4

    monkeypatch.setattr(data, "load_mnist", greys)
    monkeypatch.setattr(data, "FIRST_HELD_OUT", 40)
    values = []
    for part in data.load_digit_pairs():
        alone = part.objects.sum(axis=1) == 1
        assert set(np.unique(part.labels)) == {0, 1}
        values.append(set(part.X[alone].tolist()))
    train, held_out = values
    assert max(train) < 170 <= min(held_out)


@pytest.mark.usefixtures("generated")
def test_pixels_of_two_digits_are_not_trained_on(monkeypatch):
    monkeypatch.setitem(data.N_PAIRS, "train", 12)
    train, _ = data.load_digit_pairs()
    depth = train.objects.sum(axis=1)
    assert (depth == 2).any()
    np.testing.assert_array_equal(train.y == -1, depth == 2)
    np.testing.assert_array_equal(train.y == data.PAPER, depth == 0)
    for number in (0, 1):
        of_first = train.objects[:, number] & (depth == 1)
        own = np.broadcast_to(train.labels[:, number, None, None], depth.shape)
        np.testing.assert_array_equal(train.y[of_first], own[of_first])


def test_slices_are_trained_on_or_held_out():
    train, held_out = set(data.TRAIN_SLICES), set(data.HELD_OUT_SLICES)
    assert train | held_out <= set(range(20))
    # Neighbours are alike.
    assert min(held_out) - max(train) > 1


@pytest.mark.usefixtures("generated")
def test_slices_are_cut_to_squares():
    train, _ = data.load_membranes()
    for part, whole in zip(train[:2], membranes(), strict=True):
        above, below = np.split(part, 2)
        together = np.block([[*np.split(above, 2)], [*np.split(below, 2)]])
        np.testing.assert_array_equal(together, whole[[0, 2]])


@pytest.mark.usefixtures("generated")
def test_the_middle_of_other_slices_is_scored():
    _, held_out = data.load_membranes()
    for part, (X, y) in (
        (held_out, [all_[[4, 5]] for all_ in membranes()]),
        (data.load_test_membranes(), membranes("test")),
    ):
        np.testing.assert_array_equal(part.X, X[:, 5:15, 5:15])
        np.testing.assert_array_equal(part.y, y[:, 5:15, 5:15])


@pytest.fixture
def overlapping():
    """Two digits at random pixels, and lengths of both at random."""
    rng = np.random.default_rng(0)
    objects = rng.random((4, 2, 6, 5)) > 0.4
    labels = np.array([[0, 1], [1, 0], [0, 1], [1, 0]])
    y = data.label_pixels(objects, labels, background=data.PAPER)
    images = data.Masked(rng.random((4, 6, 5)), y, objects, labels)
    lengths = rng.random((4, 6, 5, 2))
    found = np.where(lengths.max(-1) > 0.5, lengths.argmax(-1), data.PAPER)
    segmenter = SimpleNamespace(predict=lambda X: found, lengths=lambda X: lengths)
    return images, segmenter


def dice_by_pixel(images, is_counted, says):
    """Count pixel by pixel; `says` tells whether a class is found at one."""
    scores = []
    for number in (0, 1):
        both = true = said = 0
        for i, row, column in np.ndindex(images.y.shape):
            covers = images.objects[i, :, row, column]
            if not is_counted(covers.sum()):
                continue
            is_true = number in images.labels[i][covers]
            is_said = says(number, i, row, column)
            both, true, said = (
                both + (is_true & is_said),
                true + is_true,
                said + is_said,
            )
        scores.append(2 * both / (true + said))
    return np.mean(scores)


def test_dice_outside_the_overlap(overlapping):
    images, segmenter = overlapping
    found = segmenter.predict(images.X)
    expected = dice_by_pixel(
        images, lambda depth: depth < 2, lambda number, *place: found[place] == number
    )
    assert segmentation.score_digits(segmenter, images) == pytest.approx(expected)


def test_dice_in_the_overlap(overlapping):
    images, segmenter = overlapping
    lengths = segmenter.lengths(images.X)
    expected = dice_by_pixel(
        images,
        lambda depth: depth == 2,
        lambda number, *place: lengths[(*place, number)] > 0.5,
    )
    assert segmentation.score_overlap(segmenter, images) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scores", "rate"),
    [((0.1, 0.3, 0.2), "0.01"), ((0.1, 0.3, 0.3), "0.01"), ((0, 0, 0), "0.003")],
)
def test_the_rate_of_the_best_trial_is_chosen(scores, rate):
    trials = [
        {"experiment": e, "network": n, "learning_rate": r, "dice": str(score + more)}
        for e, n, more in [("a", "c", 0), ("a", "d", 1), ("b", "c", 1)]
        for r, score in zip(
            segmentation.RATES, scores[:: -1 if more else 1], strict=True
        )
    ]
    assert segmentation.choose_rate(trials, "a", "c") == rate


def test_a_table_says_what_is_not_measured():
    trial = {"experiment": "membranes", "network": "U-Net", "dice": "0.7000"}
    trials = [{**trial, "learning_rate": "0.01"}]
    given = {"seconds": "12.6", "megabytes": "80", "parameters": "1371898"}
    results = [
        {**trial, **given, "seed": seed, "learning_rate": rate, "dice": dice}
        # The last rate was the best of fewer trials.
        for seed, rate, dice in [
            ("0", "0.01", "0.7"),
            ("1", "0.01", "0.8"),
            ("0", "0.03", "0.1"),
        ]
    ]
    *_, r1, _, unet = segmentation.make_table("membranes", trials, results).splitlines()
    assert r1 == "| SegCaps R1 | not measured |  |  |  |  |  |  |  |"
    figures = "0.750 ± 0.0707 | 0, 1 |  | 0.7000 |  | 13 | 80 | 1,371,898"
    assert unet == f"| U-Net | {figures} |"


def test_colours():
    first, second = pictures.COLOURS
    shown = pictures.colour_masks(np.array([[[0, 1, 10, -1]]]))
    assert shown[0, 0].tolist() == [list(first), list(second), [0] * 3, [255] * 3]
    lengths = np.array([[[[200, 100], [100, 200], [127, 10], [130, 140]]]], np.uint8)
    np.testing.assert_array_equal(pictures.colour_lengths(lengths), shown)


def test_a_process_of_its_own():
    assert segmentation.alone(os.getpid) != os.getpid()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["lungs", "digits"], "no experiment is called lungs"),
    ],
)
def test_wrong_arguments(given, message, capsys):
    with pytest.raises(SystemExit):
        segmentation.main(given)
    assert message in capsys.readouterr().err
