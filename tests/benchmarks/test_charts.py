import io

import numpy as np
import pytest
from matplotlib.image import imread
from reproduction.charts import CHARTS, make_chart
from reproduction.experiments import EXPERIMENTS


def results_of(experiment):
    """Give results of two seeds, of which no two are the same."""
    return [
        {
            "cell": cell.name,
            "seed": seed,
            "metrics": dict.fromkeys(experiment.columns, 1.0 + 2 * row + seed),
        }
        for row, cell in enumerate(experiment.cells_of("small"))
        for seed in (0, 1)
    ]


def draw(name, results):
    experiment = EXPERIMENTS[name]
    return CHARTS[experiment.chart](experiment, experiment.cells_of("small"), results)


def points_of(ax, marker):
    lines = [line for line in ax.get_lines() if line.get_marker() == marker]
    return [tuple(map(float, xy)) for line in lines for xy in line.get_xydata()]


def test_each_seed_is_a_dot_and_each_mean_a_line():
    figure = draw("routing-mnist", results_of(EXPERIMENTS["routing-mnist"]))
    assert [ax.get_xlabel() for ax in figure.axes] == [
        "test error %",
        "coupling entropy",
    ]
    for ax in figure.axes:
        assert points_of(ax, "o") == [
            (1.0 + 2 * row + seed, row) for row in range(7) for seed in (0, 1)
        ]
        assert points_of(ax, "|") == [(1.5 + 2 * row, row) for row in range(7)]
    titles = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert titles[1] == "dynamic, 2 iterations"


def test_a_learning_curve_goes_through_the_means_of_its_network():
    experiment = EXPERIMENTS["few-labels"]
    results = results_of(experiment)
    (ax,) = draw("few-labels", results).axes
    curves = [line for line in ax.get_lines() if line.get_marker() == "None"]
    assert [line.get_label() for line in curves] == ["CNN, 161K", "Efficient-CapsNet"]
    assert len(points_of(ax, "o")) == len(results)
    for line in curves:
        network = {"CNN, 161K": "cnn-small", "Efficient-CapsNet": "efficient"}
        for n_each, mean in line.get_xydata():
            name = f"{network[line.get_label()]}-{n_each:.0f}"
            errors = [
                row["metrics"]["test_error"] for row in results if row["cell"] == name
            ]
            assert mean == np.mean(errors)


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("n_results", [0, 1, None])
def test_every_experiment_is_drawn_however_far_it_is(name, n_results):
    experiment = EXPERIMENTS[name]
    results = results_of(experiment)[:n_results]
    picture = imread(io.BytesIO(make_chart(experiment, "small", results)))
    assert len(np.unique(picture)) > 2
