import pytest
from reproduction.experiments import EXPERIMENTS
from reproduction.tables import make_table, spread


def result(cell, seed, error, **metrics):
    return {
        "cell": cell,
        "seed": seed,
        "seconds": 90,
        "n_train": 5000,
        "n_parameters": 6_804_224,
        "test_data": "10,000 test images",
        "metrics": {"test_error": error, "validation_error": error + 1, **metrics},
    }


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1.0, 2.0, 3.0], "2.00 ± 1.00"),
        ([0.25, 0.35], "0.300 ± 0.0707"),
        ([0.25], "0.250"),
        ([None, None], "none"),
    ],
)
def test_mean_and_sample_deviation(values, text):
    assert spread(values) == text


def test_a_row_stands_beside_the_published_number():
    results = [result("r1-plain", 0, 2.0), result("r1-plain", 1, 4.0)]
    lines = make_table(EXPERIMENTS["mnist-capsnet"], "small", results).splitlines()
    assert lines[2] == (
        "| CapsNet, 1 iteration, no reconstruction | 0.34 | 3.00 ± 1.41 | 4.00 ± 1.41 "
        "| 0, 1 | 5,000 | 6,804,224 | 1.5 |"
    )
    assert lines[3].startswith(
        "| CapsNet, 1 iteration, with reconstruction | 0.29 | not measured |"
    )


def test_all_rows_have_all_columns():
    results = [result("r1-plain", 0, 2.0)]
    lines = make_table(EXPERIMENTS["mnist-capsnet"], "small", results).splitlines()
    assert {line.count("|") for line in lines if line.startswith("|")} == {9}


def test_the_notes_say_how_it_was_measured_and_how_the_papers_did():
    results = [result("r1-plain", 0, 2.0)]
    table = make_table(EXPERIMENTS["mnist-capsnet"], "small", results)
    assert "arXiv:1710.09829" in table
    assert "picks its best epoch on the test images" in table
    assert "10,000 test images" in table


def test_how_many_seeds_reached_the_wanted_accuracy_is_counted():
    more = {"affine_error": 20.0, "clean_error": 2.0, "epochs": 3}
    results = [
        result("capsnet", seed, 0, reached=reached, **more)
        for seed, reached in enumerate([1.0, 0.0, 1.0])
    ]
    table = make_table(EXPERIMENTS["affnist"], "small", results)
    assert "| 2 of 3 |" in table
