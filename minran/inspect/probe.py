"""Running a network to look at it: nothing about the network changes."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from minran import backend
from minran.autograd import Tensor, no_grad
from minran.errors import ShapeError, expect, expect_whole
from minran.hints import checked
from minran.models import AttentionModule
from minran.nn import Conv2d, Linear, Module, observe
from minran.nn.module import Observer, evaluating

Size = int | tuple[int, int] | None
Shape = tuple[int, ...]
Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a module: what went in and what came out."""

    module: Module
    inputs: tuple[Tensor, ...]
    output: Tensor


@contextmanager
def record() -> Iterator[list[Call]]:
    """Within the block, every module call is noted in the list: `graph` can then group by module.

    Children stand before their parents. The list keeps the tensors, and so their memory.
    """
    calls: list[Call] = []
    with observe(lambda module, inputs, output: calls.append(Call(module, inputs, output))):
        yield calls


def names_by_id(model: Module) -> dict[int, str]:
    """The dotted names of a network's modules and parameters."""
    return {id(part): name for name, part in (*model.named_parameters(), *model.named_modules())}


def call_shapes(model: Module, x: Tensor) -> list[tuple[Module, Shape, Shape]]:
    """Run `model` on x, in evaluation mode and without gradients, keeping no maps.

    Returns of every call inside, children first: module, shapes of its (first) input and output.
    """
    calls: list[tuple[Module, Shape, Shape]] = []

    def note(module: Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls.append((module, inputs[0].shape, output.shape))

    with evaluating(model), no_grad(), observe(note):
        model(x)
    return calls


@checked()
def expect_size(model: Module, size: int) -> None:
    """Raise ShapeError, saying which sizes do, unless `model` takes square images of `size`."""

    def problem(size: int) -> ShapeError | None:
        try:
            call_shapes(model, blank_picture(model, size))
        except ShapeError as error:
            return error
        return None

    if reason := problem(size):
        # Maps only grow with the picture: from the least size on, all do.
        least = next((s for s in range(size + 1, 1025) if not problem(s)), None)
        message = f"the network takes images of {least} pixels a side or more, not of {size}"
        raise (ShapeError(message) if least else reason) from reason


def multiply_adds(module: Module, output: Shape) -> int:
    """What one call of a convolution or linear layer multiplies, for N = 1; 0 for others."""
    if isinstance(module, Conv2d):
        return math.prod(output) * math.prod(module.weight.shape[:3])
    return module.weight.size if isinstance(module, Linear) else 0


def picture_size(model: Module, image_size: Size) -> tuple[int, int]:
    """(rows, columns): `image_size`, or the size that the model's specification was drawn for."""
    if image_size is None:
        image_size = getattr(getattr(model, "spec", None), "image_size", None)
    if image_size is None:
        raise ShapeError(
            f"{type(model).__name__} does not say for which images it was made: give image_size"
        )
    rows, columns = (image_size, image_size) if isinstance(image_size, int) else image_size
    expect(rows >= 1 and columns >= 1, f"image_size must be positive, got {image_size}")
    return rows, columns


def blank_picture(model: Module, image_size: Size, requires_grad: bool = False) -> Tensor:
    """One image of zeros (1, H, W, C), with the channels and dtype of the first convolution."""
    size = picture_size(model, image_size)
    for _, module in model.named_modules():
        if isinstance(module, Conv2d):
            shape = (1, *size, module.weight.shape[2] * module.groups)
            zeros = backend.to_device(np.zeros(shape, module.weight.dtype))
            return Tensor(zeros, requires_grad)
    raise ShapeError(f"{type(model).__name__} has no convolution, so it takes no images")


def as_pictures(model: Module, images: Any, who: str) -> np.ndarray:
    """`images` (N, H, W, C) in the model's dtype; not raw pixels, but prepared as for training."""
    array = images.numpy() if isinstance(images, Tensor) else np.asarray(images)
    expect(array.ndim == 4, f"{who}: images must be (N, H, W, C), got shape {array.shape}")
    expect(
        array.dtype.kind == "f",
        f"{who}: images must be floating-point and prepared as for training (mean subtracted), "
        f"got raw pixels of dtype {array.dtype}",
    )
    return array.astype(model.parameters()[0].dtype, copy=False)


def batches(count: int, batch_size: int, who: str) -> list[slice]:
    """The parts of `count` images, `batch_size` at a time; none of either is refused."""
    expect_whole(batch_size, f"{who}: batch_size")
    expect(count > 0, f"{who}: there are no images")
    return [slice(start, start + batch_size) for start in range(0, count, batch_size)]


def watch(model: Module, images: Any, see: Observer, who: str, batch_size: int) -> np.ndarray:
    """The logits (N, K) of `images` in evaluation mode, without gradients, under `observe(see)`."""
    array = as_pictures(model, images, who)
    with evaluating(model), no_grad(), observe(see):
        logits = [
            model(Tensor(backend.to_device(array[part]))).numpy()
            for part in batches(len(array), batch_size, who)
        ]
    return np.concatenate(logits)


@checked()
def class_probabilities(model: Module, images: Any, batch_size: int = 64) -> np.ndarray:
    """The softmax of the logits: images (N, H, W, C), prepared as for training -> (N, K)."""
    logits = watch(model, images, lambda *call: None, "class_probabilities", batch_size)
    return backend.load("numpy").softmax(logits)


@checked(count=1)
def surest_mistakes(
    model: Module, batches: Iterable[Any], count: int = 8
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each true class the `count` wrong answers of the highest probability, the surest first.

    batches: of images (N, H, W, C), prepared as for training, and labels (N,) -> the numbers of
    the images as they came (M,), their labels (M,) and probabilities (M, K).
    """
    worst: dict[int, list[tuple[float, int, np.ndarray]]] = defaultdict(list)
    seen = 0
    for images, labels, *_ in batches:
        shares = class_probabilities(model, images)
        for number in np.flatnonzero(shares.argmax(1) != labels):
            row, own = shares[number], worst[int(labels[number])]
            own.append((float(row.max()), seen + int(number), row))
            own.sort(key=lambda one: -one[0])
            del own[count:]
        seen += len(labels)
    rows = [(share, number, label, row) for label in worst for share, number, row in worst[label]]
    rows.sort(key=lambda one: (-one[0], one[1]))
    numbers, labels, found = ([row[place] for row in rows] for place in (1, 2, 3))
    return np.array(numbers, int), np.array(labels, int), np.array(found)


@checked(by=("stage", "module"))
def stage_responses(
    model: Module, images: Any, by: str = "stage", batch_size: int = 64
) -> dict[str, float]:
    """The mean absolute value of each stage's output, over images, positions and channels.

    Naive attention learning multiplies features by values below 1 at every module, so its
    responses shrink with depth; residual learning keeps them (section 4.1, Figure 4).
    images: (N, H, W, C) prepared as for training. by="stage": "stem", "stage 1", ..., "tail";
    by="module": the output of every attention module, by its name. Raises ShapeError for another
    `by`, or a model without stages.

    >>> model = minran.create_model("attention_nano")
    >>> list(inspect.stage_responses(model, np.zeros((2, 32, 32, 3), "float32")))
    ['stem', 'stage 1', 'stage 2', 'tail']
    """
    wanted: dict[int, str] = {}
    for name, module in model.named_modules():
        if by == "module" and isinstance(module, AttentionModule):
            wanted[id(module)] = name
        elif by == "stage" and re.fullmatch(r"stem|tail|stages\.\d+", name):
            first, _, number = name.partition(".")
            wanted[id(module)] = f"stage {int(number) + 1}" if number else first
    expect(bool(wanted), f"stage_responses: {type(model).__name__} has no {by}s to measure")
    sums: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(2))

    def measure(module: Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if id(module) in wanted:
            values = backend.to_host(output.data)
            sums[wanted[id(module)]] += np.abs(values).sum(dtype=np.float64), values.size

    watch(model, images, measure, "stage_responses", batch_size)
    return {name: float(total / count) for name, (total, count) in sums.items()}


def attention_modules(
    model: Module, who: str, masked: bool = True
) -> list[tuple[str, AttentionModule]]:
    """The attention modules in order, with their names; one at least. masked: only with a mask."""
    kinds = [(name, m) for name, m in model.named_modules() if isinstance(m, AttentionModule)]
    found = [(name, module) for name, module in kinds if not masked or module.mask is not None]
    lacks = "attention module with a mask" if masked else "attention module"
    expect(bool(found), f"{who}: this {type(model).__name__} has no {lacks}")
    return found


@contextmanager
def exchanged_masks(pairs: Sequence[tuple[AttentionModule, Module]]) -> Iterator[None]:
    """Within the block each module has the mask given for it; then its own again."""
    own: list[Any] = [module.mask for module, _ in pairs]
    try:
        for module, other in pairs:
            module.mask = other  # type: ignore[assignment]
        yield
    finally:
        for (module, _), mask in zip(pairs, own, strict=True):
            module.mask = mask


def hearing(
    modules: Iterable[AttentionModule], take: Callable[[Tensor], Value]
) -> tuple[Observer, dict[int, Value]]:
    """An observer, and what it fills: `take(output)` of each part by its `id`, as `live` reads it.

    Of a module's `after` it takes what goes in: the output of the gate, the module's H.
    """
    gates, seen = {id(module.after) for module in modules}, dict[int, Value]()

    def keep(part: Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen[id(part)] = take(inputs[0] if id(part) in gates else output)

    return keep, seen
