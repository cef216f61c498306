"""The ablations: what is trained, that it goes on where it stopped, and what is said about it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from minran.ablate import (
    ABLATIONS,
    SCALES,
    Cell,
    ablation_figure,
    compare,
    make_cells,
    markdown,
    measure,
    summarise,
    text,
    train_cells,
    write,
)
from minran.errors import CheckpointError, MinranError, RecipeError
from minran.inspect import summary
from minran.train import Run, make_model, read_history
from minran.workshop.ablate import runs
from minran.workshop.ablate.spread import student_t

NANO = SCALES["nano"]
TINY = [
    "data.train_count=24",
    "data.test_count=20",
    "training.epochs=2",
    "training.batch_size=8",
    "model.options.widths=[8, 8]",
    "model.options.stem_width=8",
    "model.options.tail_width=8",
    "model.options.t=1",
]


def cells(name: str, folder, seeds: int = 1, *changes: str) -> list[Cell]:
    return make_cells(ABLATIONS[name], NANO, seeds, folder, [*TINY, *changes])


def quietly(words: str) -> None:
    """Say nothing."""


# What is varied


def test_the_papers_numbers() -> None:
    """Section 4.1 of the paper, read off Tables 1, 3, 4 and 5 once more."""
    third = ABLATIONS["table3"]
    assert third.published("naive (NAL)", "4 a stage (A-164)") == 7.18
    assert third.published("residual (ARL)", "2 a stage (A-92)") == 4.99
    assert ABLATIONS["table1"].published("spatial", "1 module a stage (A-56)") == 6.33
    assert ABLATIONS["table4"].published("local convolutions", "1 module a stage (A-56)") == 6.48
    fifth = ABLATIONS["table5"]
    assert [fifth.published("ResNet", f"{n}% wrong") for n in (10, 30, 50, 70)] == [
        5.93,
        6.61,
        8.35,
        17.21,
    ]
    assert ABLATIONS["figure4"].published("naive (NAL)", "stem") is None
    for ablation in ABLATIONS.values():
        shape = (len(ablation.rows), len(ablation.columns))
        assert not ablation.paper or np.shape(ablation.paper) == shape


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_every_recipe_makes_a_network(scale, tmp_path) -> None:
    made: dict[str, int] = {}
    for ablation in ABLATIONS.values():
        for cell in make_cells(ablation, scale, 1, tmp_path):
            name = str(cell.folder)
            if name not in made:
                made[name] = make_model(cell.recipe, 10).num_parameters()
    assert len(made) == 3 + 7 + 1 + 8 + 2, "what two tables share is one run"
    attention = made[str(tmp_path / scale.name / "label-noise-0.1") + _depth(scale, 2) + "/seed-0"]
    (resnet,) = {
        size
        for name, size in made.items()
        if "label-noise-0.1" in name and ("mask-none" in name or "resnet" in name)
    }
    assert abs(resnet / attention - 1) < (0.15 if scale.name == "paper" else 0.04)


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_masks_and_a_deeper_trunk_cost_the_same(scale, tmp_path) -> None:
    masks, deeper, same = make_cells(ABLATIONS["cost"], scale, 1, tmp_path)
    assert same.recipe.model.options["mask"] == "none"
    assert same.recipe.model.options.get("modules") == masks.recipe.model.options.get("modules")
    found = [summary(make_model(each.recipe, 10)) for each in (masks, deeper, same)]
    for attribute in ("parameters", "multiply_adds"):
        costs = [getattr(each, attribute) for each in found]
        assert abs(costs[1] / costs[0] - 1) <= 0.08
        assert costs[2] < 0.9 * costs[0]


def _depth(scale, modules: int) -> str:
    return "_modules" + f"-{modules}" * scale.stages


def test_cells_differ_in_what_the_table_varies_and_in_nothing_else(tmp_path) -> None:
    learning = {cell.recipe.model.options["learning"] for cell in cells("table3", tmp_path)}
    assert learning == {"residual", "naive"}
    first, *others = cells("table5", tmp_path, 2)
    assert first.recipe.seed == 0 and others[-1].recipe.seed == 1
    for cell in others:
        before, now = first.recipe.entries(), cell.recipe.entries()
        changed = {key for key, value in now.items() if value != before[key]}
        assert changed <= {"seed", "name", "data.label_noise", "model.options"}
    with pytest.raises(RecipeError, match="--seeds"):
        cells("table1", tmp_path, 1, "seed=4")
    with pytest.raises(RecipeError, match="at least one seed"):
        cells("table1", tmp_path, 0)


# When a difference counts


def test_students_t_as_in_the_tables() -> None:
    for freedom, expected in ((1, 12.706), (2, 4.303), (4, 2.776), (10, 2.228), (100, 1.984)):
        assert student_t(freedom) == pytest.approx(expected, abs=2e-3)
    assert student_t(4, 0.99) == pytest.approx(4.604, abs=2e-3)


def test_welch_by_hand() -> None:
    """Equal counts and variances: 2 n - 2 degrees of freedom, se = s sqrt(2 / n)."""
    found = compare([1, 2, 3], [4, 5, 6])
    assert found.value == 3
    assert found.margin == pytest.approx(2.776 * np.sqrt(2 / 3), abs=1e-3)
    assert found.counts and found.verdict == "larger than the spread"
    assert compare([1, 2, 3], [2, 3, 4]).verdict == "within the spread"
    # One sample without any spread: the other's degrees of freedom alone.
    assert compare([1, 2, 3], [5, 5, 5]).margin == pytest.approx(4.303 / np.sqrt(3), abs=2e-3)
    for first, second in (([1], [2]), ([1, 2], [3]), ([1, 1], [2, 2])):
        assert compare(first, second).verdict == "no spread to judge by"


def test_the_rule_is_wrong_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    cases = [compare(rng.standard_normal(3), rng.standard_normal(3)) for _ in range(400)]
    share = sum(bool(case.counts) for case in cases) / len(cases)
    assert 0.01 < share < 0.08
    sample = summarise([1.0, 2.0, 3.0])
    assert (sample.count, sample.mean, sample.deviation) == (3, 2, 1)
    assert str(sample) == "2.00 ± 1.00" and str(summarise([2])) == "2.00"


# Runs


@pytest.fixture(scope="module")
def table4(tmp_path_factory):
    """A finished table of two seeds."""
    made = cells("table4", tmp_path_factory.mktemp("ablate"), 2)
    assert train_cells(made, quiet=True, say=quietly)
    return made


def test_it_measures_the_last_epoch(table4) -> None:
    results = measure(ABLATIONS["table4"], NANO, table4)
    cell = table4[0]
    last = read_history(Run(cell.folder).history_file)[-1]
    value = results.values[cell.row][cell.column][0]
    assert value == pytest.approx(100 * (1 - last["test_accuracy"]))
    model = make_model(cell.recipe, 10)
    assert results.parameters[cell.row][cell.column] == model.num_parameters()
    assert results.seeds[cell.row][cell.column] == [0, 1] and not results.missing


def test_what_is_finished_is_left_alone(table4, monkeypatch) -> None:
    monkeypatch.setattr(runs, "train", None)
    said: list[str] = []
    assert train_cells(table4, say=said.append)
    assert len(said) == 4 and all("finished already" in words for words in said)


def test_another_recipe_is_refused(table4) -> None:
    other = [replace(c, recipe=replace(c.recipe, seed=7)) for c in table4]
    with pytest.raises(CheckpointError, match=r"seed was .* --force"):
        train_cells(other, say=quietly)


def test_it_goes_on_where_it_stopped(table4, tmp_path, monkeypatch) -> None:
    """Stopped in the second run, the table comes out as if nothing had happened."""
    again = cells("table4", tmp_path, 2)
    whole = runs.train
    count = 0

    def stop_in_the_second(*args, **options):
        nonlocal count
        count += 1

        def interrupt(row) -> None:
            if count == 2 and row["kind"] == "epoch":
                raise KeyboardInterrupt

        return whole(*args, on_row=interrupt, **options)

    monkeypatch.setattr(runs, "train", stop_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        train_cells(again, quiet=True, say=quietly)
    monkeypatch.setattr(runs, "train", whole)
    assert [cell.finished for cell in again] == [True, False, False, False]
    partial = measure(ABLATIONS["table4"], NANO, again)
    assert len(partial.missing) == 3 and "left out" in text(partial)
    assert train_cells(again, quiet=True, say=quietly)
    found, expected = (measure(ABLATIONS["table4"], NANO, made) for made in (again, table4))
    assert found.values == expected.values


def test_a_request_to_stop_stops_the_table(tmp_path, monkeypatch) -> None:
    class Stopped:
        finished = False

    monkeypatch.setattr(runs, "train", lambda *args, **options: Stopped())
    assert not train_cells(cells("table1", tmp_path), say=quietly)


def test_a_run_that_diverges_is_left_out_and_named(tmp_path, monkeypatch) -> None:
    def diverge(*args, **options):
        raise MinranError("training diverged: the loss of step 3 is nan")

    monkeypatch.setattr(runs, "train", diverge)
    said: list[str] = []
    made = cells("table1", tmp_path)
    assert train_cells(made, say=said.append)
    assert sum("left out" in words for words in said) == 3
    results = measure(ABLATIONS["table1"], NANO, made)
    assert len(results.missing) == 3 and "No two variants" in text(results)


def test_responses_by_stage(tmp_path) -> None:
    made = cells("figure4", tmp_path, 1, "model.options.modules=[1, 1]")
    assert train_cells(made, quiet=True, say=quietly)
    results = measure(ABLATIONS["figure4"], NANO, made)
    assert results.columns == ["stem", "stage 1", "stage 2", "tail"]
    assert all(results.values[row][c][0] > 0 for row in results.rows for c in results.columns)
    # Responses are compared by their logarithms.
    results.values = {r: {c: [10.0, 10.0] for c in results.columns} for r in results.rows}
    results.values["naive (NAL)"]["tail"] = [100.0, 1000.0]
    assert results.difference("naive (NAL)", "tail").value == pytest.approx(1.5)
    assert "logarithms" in text(results)
    assert len(ablation_figure(results).axes) == 1


# Words


def test_the_files(table4, tmp_path) -> None:
    results = measure(ABLATIONS["table4"], NANO, table4)
    data, page, picture = write(results, tmp_path / "out")
    stored = json.loads(data.read_text())
    assert [cell["paper"] for cell in stored["cells"]] == [5.52, 6.48]
    assert stored["cells"][1]["verdict"] and "verdict" not in stored["cells"][0]
    assert stored["cells"][0]["seeds"] == [0, 1] and stored["reported_by"]["numpy"]
    changed = f"{NANO.words}; changed: {', '.join(table4[0].changes)}"
    assert table4[0].changes and stored["scale_is"] == changed and changed in page.read_text()
    assert "| encoder-decoder |" in page.read_text() and "table4.png" in page.read_text()
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_the_words_follow_the_numbers(table4) -> None:
    results = measure(ABLATIONS["table4"], NANO, table4)
    (column,) = results.columns
    for local, expected in (
        ([20.0, 21.0, 22.0], "+10.00 ± 2.27: larger than the spread; the paper: +0.96, the same"),
        ([0.0, 1.0, 2.0], "-10.00 ± 2.27: larger than the spread; the paper: +0.96, the opposite"),
        ([10.0, 12.0, 14.0], "within the spread; the paper: +0.96"),
        ([20.0], "no spread to judge by"),
    ):
        results.values["encoder-decoder"][column] = [10.0, 11.0, 12.0]
        results.values["local convolutions"][column] = local
        for words in (text(results), markdown(results)):
            assert expected in words
            assert "only directions can be compared" in words


@pytest.mark.parametrize("dark", [False, True])
def test_figures_of_several_columns(dark: bool, tmp_path) -> None:
    results = measure(ABLATIONS["table3"], NANO, cells("table3", tmp_path))
    for row in results.rows:
        results.values[row] = {c: [5.0, 6.0] for c in results.columns[:3]}
    figure = ablation_figure(results, dark)
    figure.savefig(tmp_path / "figure.png")
    ours, paper = figure.axes
    assert [t.get_text().replace("\n", " ") for t in ours.get_xticklabels()] == results.columns
    assert paper.get_title(loc="left") == "The paper (CIFAR-10)"
