import accuracy
import convolutions
import jsonl
import memory
import pytest
import rows
import segmentation
import speed

RESULTS = accuracy.PATH.parents[1]


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("convolutions/avx2/convolutions", convolutions),
        ("memory/memory", memory),
        ("speed/avx2/speed", speed),
        ("speed/avx512/speed", speed),
    ],
)
def test_a_table_is_that_of_the_results_beside_it(name, script):
    path = RESULTS / f"{name}.jsonl"
    _, *rows = jsonl.read(path)
    assert path.with_suffix(".md").read_text() == script.make_table(rows)


def test_the_table_of_accuracies_is_that_of_the_results_beside_it():
    table = accuracy.PATH.with_name("table.md").read_text()
    assert table == accuracy.make_table(jsonl.read(accuracy.PATH))


@pytest.mark.parametrize("experiment", segmentation.EXPERIMENTS)
def test_the_table_of_segmenters_is_that_of_the_results_beside_it(experiment):
    trials, results = (
        rows.read(segmentation.RESULTS / f"{name}.csv")
        for name in ("trials", "segmentation")
    )
    table = (segmentation.RESULTS / f"{experiment}.md").read_text()
    assert table == segmentation.make_table(experiment, trials, results)
