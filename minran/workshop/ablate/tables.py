"""What is varied: a base recipe for each scale, and rows and columns of changes for each table.

Everything here is data. A cell of a table is the scale's recipe with the changes of its row and
of its column, as `minran train --set` takes them, once for each seed.
"""

from __future__ import annotations

from dataclasses import dataclass

from minran.errors import RecipeError, expect
from minran.hints import checked

KINDS = {"error": "test error in % after the last epoch", "response": "mean absolute response"}
"""What may be measured."""


@checked(RecipeError)
@dataclass(frozen=True)
class Scale:
    """How large the networks are, and how long they train.

    recipe: a shipped recipe. stages: of its network, for changes of depth. resnet: the changes
    that make the baseline of Table 5, and `resnet_words`, which say what it is. equal: modules
    without masks (so two more units of the trunk each) that cost as much as the network's with.
    """

    name: str
    recipe: str
    words: str
    stages: int
    resnet: tuple[str, ...]
    resnet_words: str
    equal: tuple[int, ...]


@checked(RecipeError)
@dataclass(frozen=True)
class Line:
    """A row or a column of a table: words, and changes to the recipe.

    modules: attention modules in each stage (None: as the recipe says). resnet: the baseline
    without attention, which differs from scale to scale; so do the modules of `equal`.
    """

    label: str
    changes: tuple[str, ...] = ()
    modules: int | None = None
    resnet: bool = False
    equal: bool = False

    def changes_at(self, scale: Scale) -> list[str]:
        """The changes at a scale."""
        changes = list(self.changes)
        if self.modules is not None:
            changes.append(f"model.options.modules={[self.modules] * scale.stages}")
        if self.equal:
            changes.append(f"model.options.modules={list(scale.equal)}")
        return [*changes, *scale.resnet] if self.resnet else changes


@checked(RecipeError)
@dataclass(frozen=True)
class Ablation:
    """One table or figure of the paper.

    The first row is what the others are compared with, column by column. paper: the published
    error (%) of every row and column; empty where the paper only draws. kind: "error" (test
    error after the last epoch) or "response" (mean absolute response; then the columns are the
    stages, and `columns` has the one setting that is trained).
    """

    name: str
    title: str
    question: str
    rows: tuple[Line, ...]
    columns: tuple[Line, ...]
    paper: tuple[tuple[float, ...], ...] = ()
    paper_words: str = ""
    kind: str = "error"

    def __post_init__(self) -> None:
        kinds, shape = tuple(KINDS), (len(self.rows), len(self.columns))
        expect(self.kind in KINDS, f"Ablation: kind must be one of {kinds}", RecipeError)
        expect(0 not in shape, "Ablation: rows or columns are missing", RecipeError)
        found = [len(row) for row in self.paper]
        expect(
            not found or found == [shape[1]] * shape[0],
            f"Ablation: paper must have {shape[0]} rows of {shape[1]} numbers, got {found}",
            RecipeError,
        )

    def published(self, row: str, column: str) -> float | None:
        """The paper's number in a row and column, None if it has none."""
        columns = [line.label for line in self.columns]
        values = {
            line.label: dict(zip(columns, paper)) for line, paper in zip(self.rows, self.paper)
        }
        return values.get(row, {}).get(column)


def _option(name: str, values: dict[str, str]) -> tuple[Line, ...]:
    """Rows that differ in one option of the network; values: its value by label."""
    return tuple(
        Line(label, (f'model.options.{name}="{value}"',)) for label, value in values.items()
    )


_TRUNK = "the trunk alone (mask = none), deeper until it has about as many parameters"
_UNMASKED = 'model.options.mask="none"'
_LEARNING = _option("learning", {"residual (ARL)": "residual", "naive (NAL)": "naive"})
_SHALLOW = (Line("1 module a stage (A-56)", modules=1),)

SCALES = {
    scale.name: scale
    for scale in (
        Scale(
            "nano",
            "ablation-nano",
            "a network of 30,000 parameters on 4,000 shapes images, 4 epochs",
            2,
            ('model.options.mask="none"', "model.options.modules=[5, 4]"),
            _TRUNK,
            (1, 4),
        ),
        Scale(
            "small",
            "ablation-small",
            "a network of 240,000 parameters on 20,000 images of CIFAR-10, 8 epochs",
            3,
            ('model.options.mask="none"', "model.options.modules=[4, 4, 4]"),
            _TRUNK,
            (1, 2, 2),
        ),
        Scale(
            "paper",
            "ablation-paper",
            "the paper's networks and recipe on CIFAR-10 (160,000 steps each)",
            3,
            ('model.name="resnet164_cifar"', "model.options={}"),
            "ResNet-164",
            (1, 2, 2),
        ),
    )
}

ABLATIONS = {
    ablation.name: ablation
    for ablation in (
        Ablation(
            "table1",
            "Table 1: the activation of the mask",
            "Does it matter how the mask's last map is turned into attention (Eq. 4-6)?",
            _option("attention", {kind: kind for kind in ("mixed", "channel", "spatial")}),
            _SHALLOW,
            ((5.52,), (6.24,), (6.33,)),
        ),
        Ablation(
            "table3",
            "Table 3: residual against naive attention learning, by depth",
            "Does the 1 in (1 + M) T matter, and more so in deeper networks (Eq. 1 and 3)?",
            _LEARNING,
            tuple(Line(f"{m} a stage (A-{36 * m + 20})", modules=m) for m in (1, 2, 3, 4)),
            ((5.52, 4.99, 4.44, 4.31), (5.89, 5.35, 5.57, 7.18)),
        ),
        Ablation(
            "table4",
            "Table 4: the structure of the mask",
            "Does the mask need pooling and interpolation, or do local convolutions do as well?",
            _option("mask", {"encoder-decoder": "hourglass", "local convolutions": "local"}),
            _SHALLOW,
            ((5.52,), (6.48,)),
        ),
        Ablation(
            "table5",
            "Table 5: wrong labels",
            "Does attention resist wrong training labels better than a network without it?",
            (Line("Attention-92", modules=2), Line("ResNet", resnet=True)),
            tuple(Line(f"{n}% wrong", (f"data.label_noise={n / 100}",)) for n in (10, 30, 50, 70)),
            ((5.15, 5.79, 7.27, 15.75), (5.93, 6.61, 8.35, 17.21)),
        ),
        Ablation(
            "figure4",
            "Figure 4: mean absolute response of each stage's output",
            "Do features fade from stage to stage where masks below 1 multiply them (NAL)?",
            _LEARNING,
            (Line("4 a stage (A-164)", modules=4),),
            paper_words="The paper draws curves and gives no numbers: NAL's response shrinks with "
            "depth, ARL's does not.",
            kind="response",
        ),
        Ablation(
            "cost",
            "Masks, or a trunk without them at equal cost",
            "Does a mask help more than as many parameters and multiply-adds in the trunk?",
            (
                Line("masks"),
                Line("deeper trunk", (_UNMASKED,), equal=True),
                Line("same trunk", (_UNMASKED,)),
            ),
            (Line("right labels"),),
            paper_words="The paper compares with networks of another kind, and not at equal cost.",
        ),
    )
}
