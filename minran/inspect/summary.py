"""What a network is made of: output shapes, parameters, multiply-adds, share of the masks.

Multiply-adds are counted where the network multiplies by weights, for one image:

    convolution   Ho Wo KH KW (Cin / groups) Cout        linear layer   in out

as the paper's Table 7 does (it calls them FLOPs). Batch norm, activations, pools, sums and the
interpolation are left out: together they are below 1% of Attention-56.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

from minran.hints import checked
from minran.inspect.probe import Shape, Size, blank_picture, call_shapes, multiply_adds, names_by_id
from minran.models import AttentionModule, MaskBranch, ResidualAttentionNetwork
from minran.models.units import UNITS
from minran.nn import BatchNorm2d, Conv2d, Linear, Module
from minran.streams import text_table

UNIT_KINDS = tuple(UNITS.values())
HEAD = ("module", "kind", "output", "parameters", "multiply-adds", "share")


@dataclass
class Row:
    """One module: what it is, what it outputs for one image, and what it costs.

    shape: of the output without the batch axis, None if the module was not called.
    parameters, multiply_adds: of the module with all that is inside it. closed: whether the
    default view of the summary hides what is inside.
    """

    name: str
    kind: str
    shape: Shape | None
    parameters: int = 0
    multiply_adds: int = 0
    closed: bool = False
    children: list[Row] = field(default_factory=list)

    def all(self) -> Iterator[Row]:
        """This row and all below it, parents first."""
        yield self
        for child in self.children:
            yield from child.all()

    def alike(self) -> tuple[object, ...]:
        """What makes two neighbours equal."""
        inside = tuple(child.alike() for child in self.children)
        return self.kind, self.shape, self.parameters, self.multiply_adds, inside


@dataclass(frozen=True)
class Summary:
    """The counts of one network; `str(summary)` is the table that `minran summary` prints.

    parameters: trained numbers, running statistics not counted; parameters_without_norm: without
    gamma and beta of the batch norms. mask_...: the part that is in mask branches. trunk_depth:
    layers with weights from image to logits, masks left out (the 56 of Attention-56), None for
    a network that is not made of residual units.
    """

    root: Row
    image_shape: Shape
    parameters: int
    parameters_without_norm: int
    multiply_adds: int
    mask_parameters: int
    mask_multiply_adds: int
    trunk_depth: int | None
    modules_per_stage: float | None

    @property
    def rows(self) -> dict[str, Row]:
        """Every module's row by its dotted name, parents first."""
        return {row.name: row for row in self.root.all()}

    def text(self, depth: int | None = None) -> str:
        """The table: modules down to `depth` levels, or to the parts of attention modules.

        Equal neighbours share one line, whose numbers are of all of them together.
        """
        lines = [HEAD, *_lines([self.root], self.multiply_adds, depth, level=0)]
        head, *rows = text_table(lines, right=(3, 4, 5))
        rule = "-" * max(map(len, (head, *rows)))
        return "\n".join([head, rule, *rows, rule, *self._totals()])

    def _totals(self) -> Iterator[str]:
        without, picture = self.parameters_without_norm, "x".join(map(str, self.image_shape))
        yield f"parameters     {self.parameters:,} ({without:,} without batch norm)"
        whole = quantity(self.multiply_adds, decimals=3)
        yield f"multiply-adds  {whole} for one image of {picture}, forward"
        if self.mask_parameters:
            share = self.mask_parameters / self.parameters
            work = self.mask_multiply_adds / self.multiply_adds
            yield f"masks          {share:.1%} of the parameters, {work:.1%} of the multiply-adds"
        if self.trunk_depth is not None:
            m = self.modules_per_stage
            words = f" = 36 m + 20 with m = {m:g} (attention modules per stage)" if m else ""
            yield f"trunk depth    {self.trunk_depth} layers{words}"

    def __str__(self) -> str:
        return self.text()


@checked()
def summary(model: Module, image_size: Size = None) -> Summary:
    """Count a network by running one image of zeros through it.

    image_size: rows and columns (one number for both); None takes the size that the model was
    drawn for. The model stays as it was: evaluation mode, no gradients, running statistics
    untouched. Raises ShapeError if no size is known or the images do not fit.

    >>> counts = inspect.summary(minran.create_model("attention56_cifar"))
    >>> counts.parameters, counts.trunk_depth, round(counts.multiply_adds / 1e9, 3)
    (1148826, 56, 0.123)
    """
    names = names_by_id(model)
    shapes: dict[str, Shape] = {}
    cost: dict[str, int] = defaultdict(int)
    x = blank_picture(model, image_size)
    for module, _, output in call_shapes(model, x):
        if id(module) in names:
            shapes[names[id(module)]] = output[1:]
            cost[names[id(module)]] += multiply_adds(module, output)

    def row(name: str, module: Module) -> Row:
        prefix = f"{name}." if name else ""
        children = [row(prefix + part, child) for part, child in module.children()]
        if isinstance(module, AttentionModule):
            for child in children:
                child.closed = True
        total = cost[name] + sum(child.multiply_adds for child in children)
        kind, closed = type(module).__name__, isinstance(module, UNIT_KINDS)
        return Row(name, kind, shapes.get(name), module.num_parameters(), total, closed, children)

    root = row("", model)
    modules = dict(model.named_modules())
    masks = [one for one in root.all() if isinstance(modules.get(one.name), MaskBranch)]
    norms = [module for module in modules.values() if isinstance(module, BatchNorm2d)]
    trunk = list(_trunk(model))
    units = sum(isinstance(module, UNIT_KINDS) for module in trunk)
    return Summary(
        root=root,
        image_shape=x.shape[1:],
        parameters=root.parameters,
        parameters_without_norm=root.parameters - sum(n.num_parameters() for n in norms),
        multiply_adds=root.multiply_adds,
        mask_parameters=sum(mask.parameters for mask in masks),
        mask_multiply_adds=sum(mask.multiply_adds for mask in masks),
        trunk_depth=len(trunk) + 2 * units if units else None,
        modules_per_stage=_modules_per_stage(model),
    )


def _trunk(module: Module) -> Iterator[Module]:
    """The units, and the layers with weights before and after them: the way through the trunk.

    Masks are left out. A unit counts as three layers: projection shortcuts lie outside the way,
    and so does the fourth layer of an Inception unit, so that Attention*-56 are all 56 deep.
    """
    if isinstance(module, (Conv2d, Linear, *UNIT_KINDS)):
        yield module
    elif not isinstance(module, MaskBranch):
        for _, child in module.children():
            yield from _trunk(child)


def _modules_per_stage(model: Module) -> float | None:
    """The m of 36 m + 20; None unless the network has three stages, p=1, t=2 and 3 last units."""
    if not isinstance(model, ResidualAttentionNetwork):
        return None
    spec = model.spec
    regular = (len(spec.widths), spec.p, spec.t, spec.tail_units) == (3, 1, 2, 3)
    return sum(spec.modules) / 3 if regular else None


def _lines(
    copies: list[Row], whole: int, depth: int | None, level: int
) -> Iterator[tuple[str, ...]]:
    """The line of `copies` (equal neighbours), then the lines of their children."""
    row, several = copies[0], len(copies) > 1
    parent, _, label = row.name.rpartition(".")
    last_parent, _, last = copies[-1].name.rpartition(".")
    if several and parent == last_parent:
        label += f"-{last}"  # neighbours; copies in several parents have the same label already
    cost = sum(copy.multiply_adds for copy in copies)
    yield (
        "  " * level + (label or "(model)"),
        f"{len(copies)} x {row.kind}" if several else row.kind,
        "x".join(map(str, row.shape or ())),
        f"{sum(copy.parameters for copy in copies):,}",
        quantity(cost) if cost else "",
        f"{100 * cost / whole:.1f}%" if cost else "",
    )
    if row.closed if depth is None else level >= depth:
        return
    for _, run in groupby(range(len(row.children)), lambda place: row.children[place].alike()):
        places = list(run)
        group = [copy.children[place] for copy in copies for place in places]
        yield from _lines(group, whole, depth, level + 1)


def quantity(number: int, decimals: int = 1) -> str:
    """6,271,000,000 as "6.271 G": thousands k, millions M, billions G."""
    for size, letter, digits in ((10**9, "G", 3), (10**6, "M", decimals), (10**3, "k", decimals)):
        if number >= size:
            return f"{number / size:.{digits}f} {letter}"
    return str(number)
