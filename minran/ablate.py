"""A door to `minran.workshop.ablate`: the paper's tables in small."""

from minran.workshop.ablate.report import ablation_figure, markdown, text, to_json, write
from minran.workshop.ablate.runs import Cell, Results, make_cells, measure, train_cells
from minran.workshop.ablate.spread import Difference, Sample, compare, student_t, summarise
from minran.workshop.ablate.tables import ABLATIONS, SCALES, Ablation, Line, Scale

__all__ = [
    "ABLATIONS",
    "SCALES",
    "Ablation",
    "Cell",
    "Difference",
    "Line",
    "Results",
    "Sample",
    "Scale",
    "ablation_figure",
    "compare",
    "make_cells",
    "markdown",
    "measure",
    "student_t",
    "summarise",
    "text",
    "to_json",
    "train_cells",
    "write",
]
