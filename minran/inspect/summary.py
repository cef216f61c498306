"""What a network is made of: output shapes, parameters, multiply-adds, share of the masks.

Multiply-adds are counted where the network multiplies by weights, for one picture:

    convolution   Ho Wo KH KW (Cin / groups) Cout        linear layer   in out

as the paper's Table 7 does (it calls them FLOPs). Batch norm, activations, pools, sums and the
interpolation are left out: together they are below 1% of Attention-56.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from minran.autograd import Tensor, no_grad
from minran.hints import checked
from minran.inspect.probe import Size, blank_picture, evaluating
from minran.models import AttentionModule, MaskBranch, ResidualAttentionNetwork
from minran.models.units import UNITS
from minran.nn import BatchNorm2d, Conv2d, Linear, Module, observe

UNIT_KINDS = tuple(UNITS.values())


@dataclass
class Row:
    """One module: what it is, what it puts out for one picture, and what it costs.

    shape: of the output without the batch axis, None if the module was not called.
    parameters, multiply_adds: of the module with all that is inside it.
    """

    name: str
    kind: str
    shape: tuple[int, ...] | None
    parameters: int = 0
    multiply_adds: int = 0
    closed: bool = False
    """Whether the default view of the summary hides what is inside."""
    children: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Summary:
    """The counts of one network; `str(summary)` is the table that `minran summary` prints.

    parameters: trained numbers, running statistics not counted.
    parameters_without_norm: the same without gamma and beta of the batch norms.
    mask_parameters, mask_multiply_adds: the part of it that is in mask branches.
    trunk_depth: layers with weights from picture to logits, masks left out (the 56 of
    Attention-56), None for a network that is not made of residual units.
    """

    root: Row
    image_shape: tuple[int, ...]
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
        return _by_name(self.root)

    def text(self, depth: int | None = None) -> str:
        """The table: modules down to `depth` levels, or to the parts of attention modules.

        Equal neighbours share one line, whose numbers are of all of them together.
        """
        from minran.inspect.summary_text import table

        return table(self, depth)

    def __str__(self) -> str:
        return self.text()


@checked()
def summary(model: Module, image_size: Size = None) -> Summary:
    """Count a network by running one picture of zeros through it.

    image_size: rows and columns (one number for both); None takes the size that the model was
    drawn for. The model stays as it was: evaluation mode, no gradients, running statistics
    untouched. Raises ShapeError if no size is known or the pictures do not fit.

    >>> counts = inspect.summary(minran.create_model("attention56_cifar"))
    >>> counts.parameters, counts.trunk_depth, round(counts.multiply_adds / 1e9, 3)
    (1148826, 56, 0.123)
    """
    names = {id(module): name for name, module in reversed(list(model.named_modules()))}
    shapes: dict[str, tuple[int, ...]] = {}
    cost: dict[str, int] = defaultdict(int)

    def count(module: Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if id(module) in names:
            shapes[names[id(module)]] = output.shape[1:]
            cost[names[id(module)]] += _multiply_adds(module, output)

    x = blank_picture(model, image_size)
    with evaluating(model), no_grad(), observe(count):
        model(x)

    root = _row("", model, shapes, cost)
    rows = _by_name(root)
    masks = [rows[n] for n, module in model.named_modules() if isinstance(module, MaskBranch)]
    norms = [module for _, module in model.named_modules() if isinstance(module, BatchNorm2d)]
    return Summary(
        root=root,
        image_shape=x.shape[1:],
        parameters=root.parameters,
        parameters_without_norm=root.parameters - sum(n.num_parameters() for n in norms),
        multiply_adds=root.multiply_adds,
        mask_parameters=sum(row.parameters for row in masks),
        mask_multiply_adds=sum(row.multiply_adds for row in masks),
        trunk_depth=_trunk_depth(model),
        modules_per_stage=_modules_per_stage(model),
    )


def _by_name(root: Row) -> dict[str, Row]:
    found, waiting = {}, [root]
    while waiting:
        row = waiting.pop()
        found[row.name] = row
        waiting.extend(reversed(row.children))
    return found


def _multiply_adds(module: Module, output: Tensor) -> int:
    if isinstance(module, Conv2d):
        kh, kw, channels, _ = module.weight.shape
        return output.size * kh * kw * channels
    return module.weight.size if isinstance(module, Linear) else 0


def _row(
    name: str, module: Module, shapes: dict[str, tuple[int, ...]], cost: dict[str, int]
) -> Row:
    prefix = f"{name}." if name else ""
    children = [_row(prefix + child, m, shapes, cost) for child, m in module.children()]
    closed = isinstance(module, UNIT_KINDS)
    if isinstance(module, AttentionModule):
        for child in children:
            child.closed = True
    total = cost[name] + sum(child.multiply_adds for child in children)
    kind, parameters = type(module).__name__, module.num_parameters()
    return Row(name, kind, shapes.get(name), parameters, total, closed, children)


def _trunk_depth(model: Module) -> int | None:
    """Layers with weights on the way through the trunk: stem, three in each unit, classifier.

    Projection shortcuts lie beside the way and are not counted; nor is the fourth layer on the
    longest way through an Inception unit, so that Attention*-56 are all 56 deep.
    """
    inside = {
        id(below)
        for _, module in model.named_modules()
        if isinstance(module, (MaskBranch, *UNIT_KINDS))
        for _, below in module.named_modules()
        if below is not module or isinstance(module, MaskBranch)
    }
    outside = [module for _, module in model.named_modules() if id(module) not in inside]
    units = sum(isinstance(module, UNIT_KINDS) for module in outside)
    layers = sum(isinstance(module, (Conv2d, Linear)) for module in outside)
    return 3 * units + layers if units else None


def _modules_per_stage(model: Module) -> float | None:
    """The m of 36 m + 20; None unless the network has three stages, p=1, t=2 and 3 last units."""
    if not isinstance(model, ResidualAttentionNetwork):
        return None
    spec = model.spec
    regular = (len(spec.widths), spec.p, spec.t, spec.tail_units) == (3, 1, 2, 3)
    return sum(spec.modules) / 3 if regular else None
