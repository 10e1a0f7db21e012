"""Time training and prediction against the convolutions alone, in one run.

Every figure is a ratio of medians. The contestants take turns, so that whatever else
the machine does falls on all alike. Images are random: time does not depend on them.
"""

import argparse
import multiprocessing
import os
import signal
import statistics
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import jsonl
import rows
import torch
from contestants import (
    BATCH,
    CLASSIFIERS,
    NETWORKS,
    BareSteps,
    autocast,
    bare_step,
    call_seconds,
    decoded_step,
    fit_seconds,
    fitted,
    floor_convolutions,
    floor_step,
    random_images,
    routing_step,
    take_turns,
    textbook_step,
)
from files import write_whole
from settings import describe_machine, has_bfloat16, processor_folder
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

RESULTS = Path(__file__).parent / "results" / "speed" / processor_folder()
# The fastest public code of each network, as ratios of the same kind.
PUBLIC = RESULTS.parent / "public.csv"
CHANNELS_LAST = torch.channels_last
# What each bar is, as (network, precision, measure) -> the largest value allowed.
BARS = {
    ("capsnet", "float32", "fit step / floor"): 0.42,
    ("capsnet", "bfloat16", "fit step / floor"): 1.20,
    ("efficient", "float32", "fit step / floor, channels last"): 0.75,
    ("efficient", "bfloat16", "fit step / textbook float32"): 0.5,
    ("capsnet", "float32", "predict / floor"): 0.65,
    ("capsnet", "bfloat16", "predict / floor"): 1.10,
    ("efficient", "float32", "predict / floor, channels last"): 0.75,
    ("efficient", "bfloat16", "predict / floor"): 1.10,
    ("capsnet", "float32", "1 image, network less floor, ms"): 1.0,
    ("efficient", "float32", "1 image, network less floor, ms"): 1.0,
    ("efficient", "float32", "1 image, predict_proba less network, ms"): 1.0,
    ("efficient", "float32", "epoch / bare steps"): 1.05,
    ("efficient", "bfloat16", "epoch / bare steps"): 1.05,
    ("capsnet", "float32", "routing / bare step"): 0.15,
    ("capsnet", "float32", "224x224x3, build, s"): 1.5,
    ("efficient", "float32", "224x224x3, build, s"): 1.5,
    ("capsnet", "float32", "224x224x3, decoder's share"): 0.5,
    ("efficient", "float32", "224x224x3, decoder's share"): 0.5,
    ("capsnet", "float32", "grid search, 2 jobs / 1 job"): 0.7,
    ("efficient", "float32", "digits, one fit, s"): 6.0,
    ("capsnet", "float32", "digits, one fit, s"): 12.0,
}
# As many as MNIST has.
EPOCH_IMAGES = 60_000


def time_training(name, precision, arguments):
    contestants = {
        "floor": partial(call_seconds, floor_step(name, precision)),
        "floor, channels last": partial(
            call_seconds, floor_step(name, precision, CHANNELS_LAST)
        ),
        "textbook float32": partial(call_seconds, textbook_step(name)),
        "bare step": partial(call_seconds, bare_step(name, precision)),
        "fit step": partial(fit_seconds, name, precision),
    }
    if name == "capsnet":
        contestants["routing"] = partial(call_seconds, routing_step())
    found = take_turns(contestants, arguments.rounds, arguments.calls)
    ratios = {
        f"fit step / {other}": found["fit step"] / found[other]
        for other in ("floor", "floor, channels last", "bare step", "textbook float32")
    }
    if name == "capsnet":
        ratios["routing / bare step"] = found["routing"] / found["bare step"]
    return {
        **{f"{key}, ms": 1e3 * value for key, value in found.items()},
        "images per second": BATCH / found["fit step"],
        **ratios,
    }


def time_epoch(name, precision):
    """Time a whole `fit` of one epoch against as many bare steps."""
    X, y = random_images(EPOCH_IMAGES)
    turns = BareSteps(bare_step(name, precision))
    classifier = CLASSIFIERS[name](
        precision=precision,
        max_epochs=1,
        batch_size=BATCH,
        random_state=0,
        callbacks=[turns],
    )
    (seconds,) = call_seconds(lambda: classifier.fit(X, y), 1)
    epoch = seconds - sum(turns.seconds)
    # Means, not medians: an epoch is the sum of its steps, slow ones too.
    bare = statistics.fmean(turns.seconds) * EPOCH_IMAGES / BATCH
    return {"epoch, s": epoch, "epoch / bare steps": epoch / bare}


def floor_prediction(name, precision, n_images, layout=torch.contiguous_format):
    """Make a function that runs the convolutions forward."""
    convs = floor_convolutions(name).to(memory_format=layout)
    images = torch.rand(n_images, 1, 28, 28).to(memory_format=layout)

    @torch.inference_mode()
    def floor():
        with autocast(precision):
            convs(images)

    return floor


def time_prediction(name, precision, arguments):
    """Time one batch, as flat rows that are checked like any input."""
    classifier = fitted(name, precision)
    X = random_images(BATCH)[0].reshape(BATCH, -1)
    floor = partial(floor_prediction, name, precision, BATCH)
    found = take_turns(
        {
            "floor": partial(call_seconds, floor()),
            "floor, channels last": partial(call_seconds, floor(CHANNELS_LAST)),
            "predict": partial(call_seconds, lambda: classifier.predict_proba(X)),
        },
        arguments.rounds,
        arguments.calls,
    )
    return {
        "predict floor, ms": 1e3 * found["floor"],
        "predict floor, channels last, ms": 1e3 * found["floor, channels last"],
        "predict, ms": 1e3 * found["predict"],
        "predict / floor": found["predict"] / found["floor"],
        "predict / floor, channels last": (
            found["predict"] / found["floor, channels last"]
        ),
    }


def time_one_image(name, arguments):
    """Time `predict_proba` of a single image, the network and its convolutions."""
    classifier = fitted(name, "float32")
    row = random_images(1)[0].reshape(1, -1)
    image = torch.rand(1, 1, 28, 28)

    @torch.inference_mode()
    def network():
        classifier.network_(image)

    found = take_turns(
        {
            "floor": partial(call_seconds, floor_prediction(name, "float32", 1)),
            "network": partial(call_seconds, network),
            "predict": partial(call_seconds, lambda: classifier.predict_proba(row)),
        },
        arguments.rounds,
        100,
    )
    found = {key: 1e3 * value for key, value in found.items()}
    return {
        "1 image, floor, ms": found["floor"],
        "1 image, network, ms": found["network"],
        "1 image, predict_proba, ms": found["predict"],
        "1 image, network / floor": found["network"] / found["floor"],
        "1 image, network less floor, ms": found["network"] - found["floor"],
        "1 image, predict_proba less network, ms": (
            found["predict"] - found["network"]
        ),
    }


def time_large_images(name, arguments):
    """Time building a network for 224x224 images in colour, and its decoder's share."""
    build = partial(NETWORKS[name], (3, 224, 224), 10)
    found = take_turns(
        {
            "build": partial(call_seconds, build),
            "step": partial(call_seconds, decoded_step(name, "dense")),
            "without": partial(call_seconds, decoded_step(name, None)),
        },
        arguments.rounds,
        1,
    )
    return {
        "224x224x3, build, s": found["build"],
        "224x224x3, 8 images, step, ms": 1e3 * found["step"],
        "224x224x3, decoder's share": 1 - found["without"] / found["step"],
    }


def time_digits(name):
    """Time one fit on scikit-learn's digits with default parameters."""
    X, y = load_digits(return_X_y=True)
    (seconds,) = call_seconds(lambda: CLASSIFIERS[name](random_state=0).fit(X, y), 1)
    return {"digits, one fit, s": seconds}


def time_grid_search(arguments):
    """Time the README's grid search by one and by two processes."""
    X, y = (part[:450] for part in load_digits(return_X_y=True))

    def search(n_jobs):
        return GridSearchCV(
            CLASSIFIERS["capsnet"](max_epochs=5, random_state=0),
            {"routing_iterations": [1, 2, 3]},
            cv=3,
            n_jobs=n_jobs,
            refit=False,
        ).fit(X, y)

    # The first round starts the processes, which stay for the others.
    found = take_turns(
        {n: partial(call_seconds, partial(search, n)) for n in (1, 2)},
        min(arguments.rounds, 3),
        1,
    )
    return {
        "grid search, 1 job, s": found[1],
        "grid search, 2 jobs / 1 job": found[2] / found[1],
    }


def _compute():
    torch.set_num_threads(1)
    matrix = torch.rand(512, 512)
    while True:
        matrix @ matrix


@contextmanager
def others(n_processes=2):
    """Yield a function that lets other processes compute, or stops them."""
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_compute, daemon=True) for _ in range(n_processes)
    ]
    for process in processes:
        process.start()

    def let_run(running):
        for process in processes:
            os.kill(process.pid, signal.SIGCONT if running else signal.SIGSTOP)

    time.sleep(10)
    try:
        yield let_run
    finally:
        for process in processes:
            process.kill()


def time_beside_others(arguments):
    """Time a training step of CapsNet and of the textbook's beside busy processes."""
    steps = {
        "skcaps": bare_step("capsnet", "float32"),
        "textbook": textbook_step("capsnet"),
    }
    with others() as let_run:

        def seconds(name, running, n_calls):
            let_run(running)
            return call_seconds(steps[name], n_calls)

        found = take_turns(
            {
                (name, running): partial(seconds, name, running)
                for running in (False, True)
                for name in steps
            },
            arguments.rounds,
            1,
        )
    return {
        f"step beside 2 busy processes / quiet, {name}": (
            found[name, True] / found[name, False]
        )
        for name in steps
    }


def measure(name, precision, arguments):
    """Return every figure of one network in one precision, and print it at once."""
    parts = [
        partial(time_training, name, precision, arguments),
        partial(time_prediction, name, precision, arguments),
    ]
    if precision == "float32":
        parts += [
            partial(time_one_image, name, arguments),
            partial(time_large_images, name, arguments),
            partial(time_digits, name),
        ]
    if name == "efficient":
        parts.append(partial(time_epoch, name, precision))
    elif precision == "float32":
        parts += [
            partial(time_grid_search, arguments),
            partial(time_beside_others, arguments),
        ]
    found = {}
    for part in parts:
        measured = part()
        show(measured)
        found |= measured
    return found


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=list(CLASSIFIERS))
    parser.add_argument(
        "--precisions", nargs="+", default=["float32", "bfloat16"], metavar="PRECISION"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=4, help="calls in each round")
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="folder of the results"
    )
    return parser.parse_args()


def show(found):
    for key, value in found.items():
        print(f"  {key:<48}{value:10.3f}", flush=True)


def make_table(measurements):
    public = {(row["network"], row["measure"]): row for row in rows.read(PUBLIC)}
    lines = [
        "| network | precision | measure | value | best public | bar |",
        "|---|---|---|---|---|---|",
    ]
    for row in measurements:
        name, precision = row["network"], row["precision"]
        for key, value in row["measured"].items():
            bar = BARS.get((name, precision, key), "")
            best = public[name, key]["value"] if (name, key) in public else ""
            lines.append(
                f"| {name} | {precision} | {key} | {value:.3f} | {best} | {bar} |"
            )
    return "\n".join(lines) + "\n"


def main():
    arguments = parse_arguments()
    measurements = []
    for name in arguments.networks:
        for precision in arguments.precisions:
            if precision == "bfloat16" and not has_bfloat16("cpu"):
                print("\nThis processor has no instructions for bfloat16.")
                continue
            print(f"\n{name}, {precision}, batch {BATCH}", flush=True)
            found = measure(name, precision, arguments)
            measurements.append(
                {"network": name, "precision": precision, "measured": found}
            )
    machine = {"machine": describe_machine()}
    jsonl.write(arguments.output / "speed.jsonl", [machine, *measurements])
    write_whole(arguments.output / "speed.md", make_table(measurements).encode())


if __name__ == "__main__":
    main()
