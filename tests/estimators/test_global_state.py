"""Nothing global is read or changed, whatever other threads do."""

import copy
import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

import skcaps
from skcaps.estimators._machine import isolated_random_state

from ._small import X, Y, assert_same_weights, make, make_capsnet


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device(device):
    torch.set_default_device(device)
    try:
        yield
        assert torch.get_default_device().type == device
    finally:
        torch.set_default_device(None)


SURROUNDINGS = {
    "float64": lambda: default_dtype(torch.float64),
    "meta": lambda: default_device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference mode": torch.inference_mode,
}


def use(clf, path):
    """Train and use a classifier in every way, and return what comes out."""
    clf = clone(clf).fit(X, Y).partial_fit(X, Y)
    skcaps.save(clf, path)
    copies = clf, skcaps.load(path), pickle.loads(pickle.dumps(clf)), copy.deepcopy(clf)
    return [
        getattr(one, method)(X)
        for one in copies
        for method in ("predict_proba", "transform", "couplings", "reconstruct")
    ]


@pytest.fixture(scope="module", params=[make, make_capsnet], ids=["efficient", "caps"])
def expected(request, tmp_path_factory):
    clf = request.param(augmentation="shift", routing="learned")
    return clf, use(clf, tmp_path_factory.mktemp("plain") / "file")


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_surroundings_are_not_read(name, expected, tmp_path):
    clf, wanted = expected
    with SURROUNDINGS[name]():
        found = use(clf, tmp_path / "file")
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("n_threads", [2, 4])
def test_fits_in_threads_are_those_alone(n_threads):
    seeds = list(range(n_threads)) * 2
    alone = {seed: make(random_state=seed).fit(X, Y) for seed in set(seeds)}
    state = torch.get_rng_state()
    barrier = threading.Barrier(n_threads)

    def fit(seed):
        barrier.wait()
        return make(random_state=seed).fit(X, Y)

    with ThreadPoolExecutor(n_threads) as pool:
        fitted = list(pool.map(fit, seeds))
    for seed, clf in zip(seeds, fitted, strict=True):
        assert_same_weights(clf, alone[seed])
    assert torch.equal(torch.get_rng_state(), state)


def test_loading_in_a_thread_disturbs_no_draws(tmp_path):
    clf = make().fit(X, Y)
    skcaps.save(clf, tmp_path / "file")
    pickled = pickle.dumps(clf)
    stop = threading.Event()

    def load():
        while not stop.is_set():
            skcaps.load(tmp_path / "file")
            pickle.loads(pickled)

    thread = threading.Thread(target=load)
    thread.start()
    torch.manual_seed(0)
    drawn = torch.cat([torch.rand(5) for _ in range(2000)])
    stop.set()
    thread.join()
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.cat([torch.rand(5) for _ in range(2000)]))


@pytest.mark.parametrize("backend", [None, "threading"])
def test_cross_validation_in_threads(backend):
    around = joblib.parallel_config(backend) if backend else nullcontext()
    with around:
        found = cross_val_score(make(), X, Y, cv=3, n_jobs=2 if backend else 1)
    np.testing.assert_array_equal(found, cross_val_score(make(), X, Y, cv=3))


def test_loading_a_stem_beside_a_fit_disturbs_neither():
    stem = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU())
    pickled = pickle.dumps(make(stem=stem).fit(X, Y))
    alone = make(max_epochs=3).fit(X, Y)
    stop = threading.Event()

    def load():
        while not stop.is_set():
            pickle.loads(pickled)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for _ in range(3):
            assert_same_weights(make(max_epochs=3).fit(X, Y), alone)
    finally:
        stop.set()
        thread.join()


def test_the_dtype_is_read_when_it_is_ones_turn():
    entered, go_on = threading.Event(), threading.Event()
    cpu = torch.device("cpu")

    def first():
        with isolated_random_state(0, 0, cpu):
            entered.set()
            go_on.wait()

    def second():
        with isolated_random_state(1, 0, cpu):
            pass

    with default_dtype(torch.float64):
        threads = [threading.Thread(target=target) for target in (first, second)]
        threads[0].start()
        entered.wait()
        threads[1].start()
        # Long enough for the second to wait for its turn.
        time.sleep(0.2)
        go_on.set()
        for thread in threads:
            thread.join()
        assert torch.get_default_dtype() == torch.float64


FORK = """
import os, threading, torch
from skcaps.estimators._machine import isolated_random_state
cpu = torch.device("cpu")
entered, go_on = threading.Event(), threading.Event()
def hold():
    with isolated_random_state(0, 0, cpu):
        entered.set()
        go_on.wait()
thread = threading.Thread(target=hold)
thread.start()
entered.wait()
child = os.fork()
if not child:
    with isolated_random_state(0, 0, cpu):
        os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
go_on.set()
thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no process")
def test_a_process_forked_during_a_fit_can_fit():
    command = [sys.executable, "-W", "ignore", "-c", FORK]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.stdout.split() == ["7"]
