"""Compare SegCaps with a U-Net of its size on overlapping digits and on membranes.

All networks are trained by the same code, on the same images, for as many epochs, and
the learning rate of each is chosen by as many trials, with half of the epochs and the
first seed, on held-out training images. The test images are read once for each seed,
after its training. A training that is in the CSV files is not repeated: the same
command goes on where it was stopped.
"""

import argparse
import multiprocessing
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import rows
import segmentation_data as data
from files import write_whole
from reproduction.tables import spread
from segmentation_pictures import draw_digits, draw_membranes, keep_maps
from segmentation_speed import read_memory
from sklearn.exceptions import ConvergenceWarning
from unet import UNetSegmenter

from skcaps import SegCapsSegmenter
from skcaps.metrics import dice_score

RESULTS = Path(__file__).parent / "results" / "segmentation"
RATES = ("0.003", "0.01", "0.03")
# As in the paper of SegCaps: where time is short, many small steps learn more than few
# large ones.
BATCH_SIZE = 1
EPOCHS = 2
TRIAL_EPOCHS = 1
TRIAL_FIELDS = ("experiment", "network", "learning_rate", "dice", "warned")
FIELDS = (
    "experiment",
    "network",
    "seed",
    "learning_rate",
    "dice",
    "dice_overlap",
    "warned",
    "seconds",
    "megabytes",
    "parameters",
)

NETWORKS = {
    "SegCaps R3": partial(SegCapsSegmenter, variant="r3"),
    "SegCaps R1": partial(SegCapsSegmenter, variant="r1"),
    "SegCaps, encoder": partial(SegCapsSegmenter, variant="encoder"),
    "U-Net": UNetSegmenter,
}


@dataclass(frozen=True)
class Experiment:
    """Images and what is measured on them.

    Attributes
    ----------
    parameters : dict
        Of all segmenters.
    load : callable
        Returns the images to train on, and held-out ones.
    load_test : callable
    score : callable
        Takes a segmenter and images; returns the Dice coefficient by which the learning
        rate is chosen.
    score_overlap : callable or None
        Returns the Dice coefficient of the pixels of two objects, where there are any.
    draw : callable
        Takes what `keep_maps` has kept of each network.
    columns : dict
        The measures of the table and their headings.
    """

    parameters: dict
    load: Callable
    load_test: Callable
    score: Callable
    score_overlap: Callable | None
    draw: Callable
    columns: dict


def score_digits(segmenter, images):
    """Return the mean Dice coefficient of the digits, where not two of them are."""
    return dice_score(
        images.y,
        segmenter.predict(images.X),
        labels=list(range(data.N_DIGITS)),
        zero_division=0.0,
    )


def score_membranes(segmenter, images):
    """Return the Dice coefficient of the membranes."""
    found = segmenter.predict(images.X)
    return dice_score(images.y, found, labels=[1], zero_division=0.0)


def score_overlap(segmenter, images):
    """Return the mean Dice coefficient of the digits where two of them are.

    Found is each digit whose length is above 0.5, be it one or more.
    """
    found = segmenter.lengths(images.X) > 0.5
    is_overlap = images.objects.sum(axis=1) > 1
    scores = []
    for number in range(data.N_DIGITS):
        is_there = (images.labels == number).any(axis=1)[:, None, None]
        truth = np.where(is_overlap, is_there.astype(int), -1)
        said = found[..., number].astype(int)
        scores.append(dice_score(truth, said, average="binary", zero_division=0.0))
    return float(np.mean(scores))


EXPERIMENTS = {
    "digits": Experiment(
        {"background_label": data.PAPER},
        data.load_digit_pairs,
        data.load_test_pairs,
        score_digits,
        score_overlap,
        draw_digits,
        {
            "dice": "Dice outside the overlap",
            "dice_overlap": "Dice in the overlap",
        },
    ),
    "membranes": Experiment(
        {"background_label": 0, "patch_size": 64},
        data.load_membranes,
        data.load_test_membranes,
        score_membranes,
        None,
        draw_membranes,
        {"dice": "Dice of the membranes"},
    ),
}


def fit(experiment, network, rate, seed, epochs, images):
    """Return a trained segmenter, and "yes" if it warned that it learned nothing."""
    segmenter = NETWORKS[network](
        learning_rate=float(rate),
        batch_size=BATCH_SIZE,
        max_epochs=epochs,
        random_state=int(seed),
        **EXPERIMENTS[experiment].parameters,
    )
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", ConvergenceWarning)
        segmenter.fit(images.X, images.y)
    warned = any(issubclass(one.category, ConvergenceWarning) for one in found)
    return segmenter, "yes" if warned else "no"


def try_rate(experiment, network, rate):
    """Train with one learning rate; return the score of held-out images."""
    train, held_out = EXPERIMENTS[experiment].load()
    segmenter, warned = fit(experiment, network, rate, 0, TRIAL_EPOCHS, train)
    return f"{EXPERIMENTS[experiment].score(segmenter, held_out):.4f}", warned


def choose_rate(trials, experiment, network):
    """Return the learning rate with the best trial, of equals the lowest."""
    scores = {
        row["learning_rate"]: float(row["dice"])
        for row in _select(trials, experiment, network)
        if row["learning_rate"] in RATES
    }
    return min(scores, key=lambda rate: (-scores[rate], float(rate)), default=None)


def _select(found, experiment, network):
    key = (experiment, network)
    return [row for row in found if (row["experiment"], row["network"]) == key]


def measure(folder, experiment, network, seed, rate):
    """Train with the chosen learning rate, then read the test images."""
    train, _ = EXPERIMENTS[experiment].load()
    before = forget_peak()
    begin = time.process_time()
    segmenter, warned = fit(experiment, network, rate, seed, EPOCHS, train)
    seconds = time.process_time() - begin
    megabytes = read_memory("VmHWM") - before
    test = EXPERIMENTS[experiment].load_test()
    score_overlap = EXPERIMENTS[experiment].score_overlap
    if seed == "0":
        keep_maps(folder / f"{experiment}-{name_file(network)}.npz", segmenter, test)
    return (
        f"{EXPERIMENTS[experiment].score(segmenter, test):.4f}",
        f"{score_overlap(segmenter, test):.4f}" if score_overlap else "",
        warned,
        f"{seconds / EPOCHS:.2f}",
        f"{megabytes:.0f}",
        segmenter.n_parameters_,
    )


def forget_peak():
    """Let Linux count the largest memory from now on; return the MB of now."""
    Path("/proc/self/clear_refs").write_text("5")
    return read_memory("VmRSS")


def alone(function, *arguments):
    """Call a function in a process of its own, whose memory nothing else has used."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def name_file(network):
    """Return the name of a network as a part of a file's name."""
    return network.lower().replace(",", "").replace(" ", "-")


def run(experiment, seed, folder):
    """Train all networks with one seed, after the trials if there are none yet."""
    for network in NETWORKS:
        for rate in RATES:
            key = (experiment, network, rate)
            rows.add(folder / "trials.csv", TRIAL_FIELDS, key, try_rate)
    trials = rows.read(folder / "trials.csv")
    for network in NETWORKS:
        rate = choose_rate(trials, experiment, network)
        key = (experiment, network, str(seed), rate)
        task = partial(alone, measure, folder)
        rows.add(folder / "segmentation.csv", FIELDS, key, task)
        write_results(experiment, folder)


def write_results(experiment, folder):
    """Write the table of an experiment, and the picture where its maps are kept."""
    table = make_table(
        experiment,
        rows.read(folder / "trials.csv"),
        rows.read(folder / "segmentation.csv"),
    )
    write_whole(folder / f"{experiment}.md", table.encode())
    maps = {}
    for network in NETWORKS:
        path = folder / f"{experiment}-{name_file(network)}.npz"
        if path.exists():
            with np.load(path) as kept:
                maps[network] = dict(kept)
    if maps:
        write_whole(folder / f"{experiment}.png", EXPERIMENTS[experiment].draw(maps))


def make_table(experiment, trials, results):
    """Return the results of an experiment as Markdown."""
    columns = EXPERIMENTS[experiment].columns
    header = [
        "network",
        *columns.values(),
        "seeds",
        *(f"held-out Dice, rate {rate}" for rate in RATES),
        "CPU s an epoch",
        "MB",
        "parameters",
    ]
    lines = [header, ["---"] * len(header)]
    for network in NETWORKS:
        rate = choose_rate(trials, experiment, network)
        chosen = [
            row
            for row in _select(results, experiment, network)
            if row["learning_rate"] == rate
        ]
        own_trials = _select(trials, experiment, network)
        lines.append([network, *_cells(columns, own_trials, chosen)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cells(columns, trials, results):
    found = {row["learning_rate"]: row["dice"] for row in trials}
    rates = [found.get(rate, "") for rate in RATES]
    if not results:
        return ["not measured", *[""] * len(columns), *rates, "", "", ""]
    return [
        *(spread([float(row[name]) for row in results]) for name in columns),
        ", ".join(row["seed"] for row in results),
        *rates,
        *(
            f"{statistics.median(float(row[name]) for row in results):,.0f}"
            for name in ("seconds", "megabytes", "parameters")
        ),
    ]


def main(given=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "experiments",
        nargs="*",
        default=list(EXPERIMENTS),
        metavar="EXPERIMENT",
        help=f"by default all: {', '.join(EXPERIMENTS)}",
    )
    parser.add_argument(
        "--seeds", type=int, default=3, help="how many, from 0 on; by default 3"
    )
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args(given)
    if unknown := set(arguments.experiments) - set(EXPERIMENTS):
        parser.error(f"no experiment is called {', '.join(sorted(unknown))}")
    if arguments.seeds < 1:
        parser.error(f"--seeds must be at least 1, got {arguments.seeds}")
    for seed in range(arguments.seeds):
        for experiment in arguments.experiments:
            run(experiment, seed, arguments.output)


if __name__ == "__main__":
    main()
