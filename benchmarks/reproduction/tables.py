"""Results as Markdown, beside what is published."""

import statistics

PROTOCOL = (
    "Mean and standard deviation over the seeds. Choices were made on held-out "
    "training images and the test images were read once for each seed, after its "
    "training. The public code of both papers picks its best epoch on the test "
    "images, so published numbers may be the best of many."
)


def make_table(experiment, profile_name, results):
    """Return the table of an experiment and the notes below it."""
    profile = experiment.profiles[profile_name]
    header = [
        "network",
        "published",
        *experiment.columns.values(),
        "seeds",
        "images",
        "parameters with decoder",
        "minutes a seed",
    ]
    lines = [_row(header), _row(["---"] * len(header))]
    for cell in experiment.cells_of(profile_name):
        rows = [row for row in results if row["cell"] == cell.name]
        lines.append(_row(_describe(experiment, cell, rows)))
    tests = sorted({row["test_data"] for row in results})
    measured = f"Measured with the {profile_name} profile on {'; '.join(tests)}."
    notes = [*_sources(experiment), experiment.note, profile.note, measured, PROTOCOL]
    return "\n".join(lines) + "\n\n" + "\n\n".join(filter(None, notes)) + "\n"


def spread(values):
    """Return mean and sample deviation as text."""
    if None in values:
        return "none"
    if len(values) == 1:
        return _fixed(values[0])
    return f"{_fixed(statistics.fmean(values))} ± {_fixed(statistics.stdev(values))}"


def _describe(experiment, cell, rows):
    if not rows:
        blanks = ["not measured", *[""] * (len(experiment.columns) + 3)]
        return [cell.title, cell.published, *blanks]
    return [
        cell.title,
        cell.published,
        *[_column(name, rows) for name in experiment.columns],
        ", ".join(str(row["seed"]) for row in rows),
        f"{rows[0]['n_train']:,}",
        f"{rows[0]['n_parameters']:,}",
        f"{statistics.median(row['seconds'] for row in rows) / 60:.1f}",
    ]


def _column(name, rows):
    values = [row["metrics"][name] for row in rows]
    if name == "reached":
        return f"{sum(map(round, values))} of {len(values)}"
    return spread(values)


def _sources(experiment):
    if experiment.sources:
        yield f"Published: {'; '.join(experiment.sources)}."


def _fixed(value):
    """Write with two decimals, three below 1 and four below 0.1."""
    decimals = 2 if abs(value) >= 1 else 3 if abs(value) >= 0.1 else 4
    return f"{value:.{decimals}f}"


def _row(texts):
    return f"| {' | '.join(texts)} |"
