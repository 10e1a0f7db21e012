import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jsonl
import numpy as np
import pytest
import reproduce
from reproduction import data, protocols
from reproduction.experiments import EXPERIMENTS
from reproduction.matching import StopAtAccuracy
from reproduction.networks import NETWORKS

SCRIPT = Path(__file__).parent / "_generated.py"
# All cells of which are quick.
QUICK = "anomaly"


def run(name, folder, seeds=1):
    reproduce.main(
        [name, "--profile", "tiny", "--seeds", str(seeds), "--output", str(folder)]
    )
    return read(folder / f"{name}-tiny.jsonl")


def read(path):
    """Return the results, which stand below the settings."""
    return jsonl.read(path)[1:]


def numbers(results):
    return {(row["cell"], row["seed"]): row["metrics"] for row in results}


@pytest.mark.usefixtures("generated")
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_runs(name, tmp_path):
    results = run(name, tmp_path)
    experiment = EXPERIMENTS[name]
    cells = experiment.cells_of("tiny")
    assert [row["cell"] for row in results] == [cell.name for cell in cells]
    table = (tmp_path / f"{name}-tiny.md").read_text()
    for row, cell in zip(results, cells, strict=True):
        assert f"| {cell.title} | {cell.published} |" in table
        assert set(experiment.columns) <= set(row["metrics"])
        assert row["machine"]["torch"]
        errors = [v for k, v in row["metrics"].items() if k.endswith("error")]
        assert all(error is None or 0 <= error <= 100 for error in errors)
    assert "not measured" not in table
    picture = (tmp_path / f"{name}-tiny.png").read_bytes()
    assert picture.startswith(b"\x89PNG")


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("profile", ["small", "paper", "tiny"])
def test_every_network_of_every_profile_takes_its_parameters(name, profile):
    experiment = EXPERIMENTS[name]
    cells = experiment.cells_of(profile)
    assert len({cell.name for cell in cells}) == len(cells) > 0
    for cell in cells:
        run = protocols.Run(
            experiment.source, cell, experiment.profiles[profile], 0, {}, None
        )
        classifier = NETWORKS[cell.network](**run.parameters())
        if hasattr(classifier, "_parameter_constraints"):
            classifier._validate_params()


@pytest.mark.usefixtures("generated")
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_test_images_are_read_once_and_after_training(name, tmp_path, monkeypatch):
    steps = []
    fit, load_test = protocols.Run.fit, data.load_test

    def note_fit(self, *args, **kwargs):
        found = fit(self, *args, **kwargs)
        steps.append("fit")
        return found

    def note_test(source, *args):
        steps.append(f"test {source}")
        return load_test(source, *args)

    monkeypatch.setattr(protocols.Run, "fit", note_fit)
    monkeypatch.setattr(data, "load_test", note_test)
    experiment = EXPERIMENTS[name]
    cell = experiment.cells_of("tiny")[-1]
    protocols.PROTOCOLS[experiment.protocol](
        protocols.Run(experiment.source, cell, experiment.profiles["tiny"], 0, {}, None)
    )
    assert steps[0] == "fit"
    assert len(set(steps)) == len(steps) > 1


@pytest.mark.usefixtures("generated")
def test_seeds_differ_and_repeat(tmp_path):
    first, second = (numbers(run(QUICK, tmp_path / name, seeds=2)) for name in "ab")
    assert first == second
    assert first["efficient", 0] != first["efficient", 1]


@pytest.mark.usefixtures("generated")
def test_more_seeds_are_added_to_those_that_are_there(tmp_path, monkeypatch, capsys):
    run(QUICK, tmp_path)
    results = run(QUICK, tmp_path, seeds=2)
    assert sorted(numbers(results)) == [
        (cell, seed) for cell in ("capsnet", "efficient") for seed in (0, 1)
    ]
    assert capsys.readouterr().out.count("finished before") == 2
    assert "| 0, 1 |" in (tmp_path / f"{QUICK}-tiny.md").read_text()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_results_that_are_kept_are_whole_and_of_todays_settings(
    name, tmp_path, monkeypatch
):
    def measure(run, protocol):
        pytest.fail(f"seed {run.seed} of {run.cell.name} is missing")

    monkeypatch.setattr(reproduce, "measure", measure)
    kept = reproduce.RESULTS / f"{name}-small.jsonl"
    shutil.copy(kept, tmp_path)
    reproduce.main([name, "--output", str(tmp_path)])
    table = tmp_path / f"{name}-small.md"
    assert table.read_text() == kept.with_suffix(".md").read_text()


# Three epochs of 40 images in batches of 14, 13 and 13.
@pytest.mark.parametrize(
    ("wanted", "n_between", "epochs", "reached"),
    [
        pytest.param(0.0, 40, 1.0, 1.0, id="after an epoch"),
        pytest.param(0.0, 14, 14 / 40, 1.0, id="after a batch"),
        pytest.param(0.0, 20, 27 / 40, 1.0, id="at the next whole batch"),
        pytest.param(0.0, 1000, 3.0, 1.0, id="at the end"),
        pytest.param(1.1, 16, 3.0, 0.0, id="never"),
    ],
)
@pytest.mark.usefixtures("generated")
def test_training_on_shifted_digits_stops_at_the_wanted_accuracy(
    wanted, n_between, epochs, reached
):
    experiment = EXPERIMENTS["affnist"]
    (cell,) = [cell for cell in experiment.cells if cell.name == "efficient"]
    profile = stopping_profile(experiment, wanted, n_between)
    found = protocols.stand_affine_maps(
        protocols.Run("affnist", cell, profile, 0, {}, None)
    )
    assert found["metrics"]["epochs"] == pytest.approx(epochs)
    assert found["metrics"]["reached"] == reached


def stopping_profile(experiment, wanted, n_between):
    return replace(
        experiment.profiles["tiny"],
        max_epochs=3,
        wanted_accuracy=wanted,
        n_between_scores=n_between,
    )


@pytest.mark.usefixtures("generated")
def test_scoring_held_out_images_does_not_change_the_training():
    experiment = EXPERIMENTS["affnist"]
    profile = stopping_profile(experiment, 1.1, 16)
    (cell,) = [cell for cell in experiment.cells if cell.name == "efficient"]
    run = protocols.Run("affnist", cell, profile, 0, {}, None)
    train = run.training()
    stop = StopAtAccuracy(1.1, train.X_valid, train.y_valid, 16)
    watched, _ = run.fit(train.X, train.y, callbacks=[stop])
    alone, _ = run.fit(train.X, train.y)
    assert len(watched.history_) == 3
    # After 27, 40, 54, 67, 80, 107 and 120 images, and at the end.
    assert len(stop.found) == 8
    for row, other in zip(watched.history_, alone.history_, strict=True):
        assert row["train_loss"] == other["train_loss"]
    # The means of the batch normalisation too, which only predictions show.
    np.testing.assert_array_equal(watched.lengths(train.X), alone.lengths(train.X))


@pytest.mark.usefixtures("generated")
def test_a_run_that_fails_half_way_goes_on_to_the_same_numbers(tmp_path, monkeypatch):
    whole = numbers(run(QUICK, tmp_path / "whole", seeds=2))
    measure, finished = reproduce.measure, []

    def fail_at_the_third(*args):
        if len(finished) == 2:
            raise RuntimeError("the power is out")
        result = measure(*args)
        # As JSON has it, without tuples.
        finished.append(json.loads(json.dumps(result)))
        return result

    with monkeypatch.context() as patch:
        patch.setattr(reproduce, "measure", fail_at_the_third)
        with pytest.raises(RuntimeError, match="power"):
            run(QUICK, tmp_path / "part", seeds=2)
    assert read(tmp_path / "part" / f"{QUICK}-tiny.jsonl") == finished
    after = run(QUICK, tmp_path / "part", seeds=2)
    assert after[:2] == finished
    assert numbers(after) == whole


def start(folder, seeds):
    command = [sys.executable, str(SCRIPT), QUICK, "--profile", "tiny"]
    return subprocess.Popen(
        [*command, "--seeds", str(seeds), "--output", str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )


def wait_for_a_result(process, path, timeout=50):
    end = time.monotonic() + timeout
    while time.monotonic() < end and process.poll() is None:
        if path.exists():
            return
        time.sleep(0.01)
    pytest.fail("the run wrote no result")


@pytest.mark.usefixtures("generated")
def test_a_killed_run_loses_no_finished_seed(tmp_path):
    path = tmp_path / "killed" / f"{QUICK}-tiny.jsonl"
    process = start(path.parent, seeds=50)
    try:
        wait_for_a_result(process, path)
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL
    before = read(path)
    # As if it had been killed while it wrote.
    text = path.read_text()
    path.with_name(f".{path.name}.part").write_text(text[: len(text) // 2])
    seeds = before[-1]["seed"] + 2
    after = run(QUICK, path.parent, seeds)
    assert after[: len(before)] == before
    assert len(after) == 2 * seeds > len(before)
    assert numbers(after) == numbers(run(QUICK, tmp_path / "whole", seeds))


@pytest.mark.usefixtures("generated")
def test_results_of_other_settings_are_not_mixed(tmp_path):
    run(QUICK, tmp_path)
    arguments = [QUICK, "--profile", "tiny", "--output", str(tmp_path)]
    with pytest.raises(ValueError, match=r"other settings \(precision\)"):
        reproduce.main([*arguments, "--precision", "float64"])


def test_float32_never_passes_for_bfloat16(monkeypatch, tmp_path):
    monkeypatch.setattr(reproduce, "has_bfloat16", lambda device: False)
    with pytest.raises(ValueError, match="pass --precision float32"):
        reproduce.main([QUICK, "--precision", "bfloat16", "--output", str(tmp_path)])


def test_the_whole_smallnorb_path_runs_on_the_real_sample(tmp_path, data_home):
    arguments = ["smallnorb", "--seeds", "1", "--precision", "float32"]
    folders = ["--data-home", str(data_home), "--output", str(tmp_path)]
    reproduce.main([*arguments, *folders])
    results = read(tmp_path / "smallnorb-small.jsonl")
    assert [row["n_train"] for row in results] == [6, 6]
    assert "say nothing" in (tmp_path / "smallnorb-small.md").read_text()


def test_all_runs_every_experiment(monkeypatch):
    ran = []
    monkeypatch.setattr(reproduce, "reproduce", lambda name, _: ran.append(name))
    reproduce.main(["all"])
    assert ran == list(EXPERIMENTS)


def test_seeds_must_be_some(capsys):
    with pytest.raises(SystemExit):
        reproduce.main(["all", "--seeds", "0"])
    assert "--seeds must be at least 1" in capsys.readouterr().err


def test_small_profiles_have_no_more_images_than_there_are():
    sizes = [
        profile.n_train + profile.n_valid
        for experiment in EXPERIMENTS.values()
        for profile in experiment.profiles.values()
    ]
    assert np.max(sizes) <= 60_000
