import numpy as np
import pytest
from reproduction.metrics import (
    anomaly_auc,
    error_percent,
    partial_error_percent,
    set_error_percent,
    top_two,
)

# Both right, one right, none right, both right in the other order.
INDICATOR = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 1, 1]])
SCORES = np.array(
    [[0.9, 0.8, 0.1, 0.2], [0.9, 0.7, 0.3, 0.1], [0.1, 0.2, 0.8, 0.9], [0, 0, 5, 4]]
)
CHOSEN = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]])


def test_the_two_highest_scores_are_chosen():
    np.testing.assert_array_equal(top_two(SCORES), CHOSEN)


def test_two_classes_are_chosen_where_scores_tie_or_are_negative():
    assert top_two([[0.0, 0.0, 0.0], [-1.0, -3.0, -2.0]]).tolist() == [
        [1, 1, 0],
        [1, 0, 1],
    ]


def test_a_set_is_right_only_as_a_whole():
    assert set_error_percent(INDICATOR, CHOSEN) == 50.0


def test_partial_credit_is_half_a_point_for_one_of_two():
    assert partial_error_percent(INDICATOR, CHOSEN) == pytest.approx(37.5)


def test_the_error_is_in_percent():
    assert error_percent([0, 1, 2, 3], np.array([0, 1, 2, 0])) == 25.0


@pytest.mark.parametrize(
    ("familiar", "strange", "expected"),
    [([1, 2], [3, 4], 1.0), ([3, 4], [1, 2], 0.0), ([1, 3], [2, 4], 0.75)],
)
def test_the_auc_is_high_where_what_is_strange_scores_high(familiar, strange, expected):
    assert anomaly_auc(familiar, strange) == expected
