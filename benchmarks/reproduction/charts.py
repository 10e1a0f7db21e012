"""Results as pictures: every seed a dot, every mean a line."""

import io
import statistics
from itertools import groupby

from matplotlib.figure import Figure

# Columns that say how the training went, which the table shows.
NOT_DRAWN = ("validation", "epochs", "reached")


def draw_dots(experiment, cells, results):
    """Draw a panel for each measure, with a row for each network."""
    columns = {
        name: title
        for name, title in experiment.columns.items()
        if not name.startswith(NOT_DRAWN)
    }
    figure = Figure(
        figsize=(3.2 + 2.6 * len(columns), 1.1 + 0.33 * len(cells)),
        layout="constrained",
    )
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for ax, (name, title) in zip(panels, columns.items(), strict=True):
        for row, cell in enumerate(cells):
            values = _values(results, cell, name)
            ax.plot(values, [row] * len(values), "o", color="C0", alpha=0.6)
            if values:
                ax.plot(statistics.fmean(values), row, "|", color="k", markersize=16)
        ax.set_xlabel(title)
        ax.locator_params(axis="x", nbins=5)
        ax.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(cells)), [cell.title for cell in cells])
    panels[0].set_ylim(len(cells) - 0.5, -0.5)
    return figure


def draw_learning_curves(experiment, cells, results):
    """Draw the error over the labels of each class, a curve for each network."""
    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    ax = figure.subplots()
    ordered = sorted(cells, key=lambda cell: (cell.network, cell.n_each))
    ticks = sorted({cell.n_each for cell in cells})
    for color, (_, group) in enumerate(groupby(ordered, lambda cell: cell.network)):
        curve = [
            (cell, values)
            for cell in group
            if (values := _values(results, cell, "test_error"))
        ]
        for cell, values in curve:
            dots = [cell.n_each] * len(values)
            ax.plot(dots, values, "o", color=f"C{color}", alpha=0.4)
        if curve:
            ax.plot(
                [cell.n_each for cell, _ in curve],
                [statistics.fmean(values) for _, values in curve],
                color=f"C{color}",
                label=curve[0][0].title.rsplit(",", 1)[0],
            )
            ax.legend()
    ax.set(xscale="log", yscale="log", xlabel="labels of each class")
    ax.set_ylabel(experiment.columns["test_error"])
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_formatter("")
    ax.set_xticks(ticks, map(str, ticks))
    lowest, highest = ax.get_ylim()
    errors = [e for e in (0.5, 1, 2, 5, 10, 20, 50) if lowest <= e <= highest]
    ax.set_yticks(errors, map(str, errors))
    ax.grid(alpha=0.3)
    return figure


CHARTS = {"dots": draw_dots, "learning_curves": draw_learning_curves}


def make_chart(experiment, profile_name, results):
    """Return the picture of an experiment as the bytes of a PNG file."""
    cells = experiment.cells_of(profile_name)
    figure = CHARTS[experiment.chart](experiment, cells, results)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100, metadata={"Software": None})
    return file.getvalue()


def _values(results, cell, name):
    return [row["metrics"][name] for row in results if row["cell"] == cell.name]
