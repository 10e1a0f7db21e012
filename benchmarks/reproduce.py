"""Run the experiments of the papers, and write their numbers beside the published.

Each finished seed is written at once. A run that was stopped goes on where it was: the
same command skips what is finished.
"""

import argparse
import time
from dataclasses import asdict
from pathlib import Path

from files import write_whole
from reproduction.charts import make_chart
from reproduction.experiments import EXPERIMENTS
from reproduction.protocols import PROTOCOLS, Run
from reproduction.store import Store
from reproduction.tables import make_table
from settings import describe_machine, has_bfloat16

RESULTS = Path(__file__).parent / "results" / "reproduce"


def parse_arguments(given=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "experiments",
        nargs="+",
        choices=[*EXPERIMENTS, "all"],
        metavar="EXPERIMENT",
        help=f"one or more of {', '.join(EXPERIMENTS)}; or all",
    )
    parser.add_argument(
        "--profile",
        # "tiny" is for tests.
        choices=["small", "paper", "tiny"],
        metavar="{small,paper}",
        default="small",
        help="small is for two CPU cores, paper for a GPU; by default small",
    )
    parser.add_argument(
        "--seeds", type=int, default=3, help="how many, from 0 on; by default 3"
    )
    parser.add_argument("--device", default="auto", help="by default a GPU if there is")
    parser.add_argument(
        "--precision",
        choices=["float32", "bfloat16", "float64"],
        help="by default float32, and bfloat16 in the small profiles",
    )
    parser.add_argument("--data-home", help="by default SKCAPS_DATA")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args(given)
    if arguments.seeds < 1:
        parser.error(f"--seeds must be at least 1, got {arguments.seeds}")
    return arguments


def check_machine(device, precision):
    """Raise ValueError where float32 would pass for bfloat16 in the results."""
    if precision == "bfloat16" and not has_bfloat16(device):
        raise ValueError(
            "precision is bfloat16, for which this processor has no instructions; pass "
            "--precision float32."
        )


def reproduce(name, arguments):
    """Run the unfinished seeds of one experiment, one seed of all cells at a time."""
    experiment = EXPERIMENTS[name]
    profile = experiment.profiles[arguments.profile]
    machine = {
        "device": arguments.device,
        "precision": arguments.precision or profile.precision,
    }
    cells = experiment.cells_of(arguments.profile)
    path = arguments.output / f"{name}-{arguments.profile}.jsonl"
    store = Store(path, describe(name, experiment, arguments.profile, cells, machine))
    for seed in range(arguments.seeds):
        for cell in cells:
            if store.has(cell.name, seed):
                print(f"{name}: {cell.title}, seed {seed}: finished before", flush=True)
                continue
            check_machine(**machine)
            run = Run(
                experiment.source, cell, profile, seed, machine, arguments.data_home
            )
            result = measure(run, experiment.protocol)
            store.add(result)
            write_table(experiment, arguments.profile, store)
            report(name, cell, result)
    # Also where all was finished before, by a run that was stopped right after.
    write_table(experiment, arguments.profile, store)
    chart = make_chart(experiment, arguments.profile, store.results)
    write_whole(store.path.with_suffix(".png"), chart)


def write_table(experiment, profile_name, store):
    table = make_table(experiment, profile_name, store.results)
    write_whole(store.path.with_suffix(".md"), table.encode())


def measure(run, protocol):
    """Train and test one cell with one seed."""
    start = time.perf_counter()
    found = PROTOCOLS[protocol](run)
    return {
        "cell": run.cell.name,
        "seed": run.seed,
        "seconds": round(time.perf_counter() - start, 2),
        **found,
        "machine": describe_machine(),
    }


def describe(name, experiment, profile_name, cells, machine):
    """Return all that the results depend on besides the seed."""
    return {
        "experiment": name,
        "title": experiment.title,
        "protocol": experiment.protocol,
        "source": experiment.source,
        "profile": profile_name,
        "sizes": asdict(experiment.profiles[profile_name]),
        "cells": {cell.name: asdict(cell) for cell in cells},
        **machine,
    }


def report(name, cell, result):
    metrics = ", ".join(
        f"{key} {'none' if value is None else format(value, '.4g')}"
        for key, value in result["metrics"].items()
    )
    print(
        f"{name}: {cell.title}, seed {result['seed']}: {metrics}, "
        f"{result['seconds']:.0f} s",
        flush=True,
    )


def main(given=None):
    arguments = parse_arguments(given)
    chosen = EXPERIMENTS if "all" in arguments.experiments else arguments.experiments
    for name in chosen:
        reproduce(name, arguments)


if __name__ == "__main__":
    main()
