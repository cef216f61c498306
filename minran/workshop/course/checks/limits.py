"""Checks of notebooks 16 to 18: tests that catch a bug, speed, and what could replace the mask."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np

from minran import ops, tensor
from minran.autograd import Tensor
from minran.backend.cpu.norm import batch_norm
from minran.errors import MinranError
from minran.models import AttentionModule, Hourglass, MaskBranch
from minran.models.units import Build
from minran.nn import Module, UpsampleBilinear2d
from minran.workshop.course.checking import Function, Wrong, beside, compare, generator, require
from minran.workshop.course.clinic import HalfGate, healthy, patient
from minran.workshop.course.gates import SqueezeExciteParts, cost
from minran.workshop.course.kernels import passes_and_bytes, run_block

_MODULES = (
    {"channels": 16, "depth": 2, "seed": 0},
    {"channels": 16, "depth": 3, "seed": 1},
    {"channels": 32, "depth": 2, "seed": 2},
    {"channels": 16, "depth": 2, "seed": 3},
)
"""Widths, depths and seeds that a test must not depend on; every bug shows in each of them. In the
last one the classes have other names."""

MOST_PASSES, SHARE_OF_BYTES = 3.2, 16
SHARE = 0.1
"""A cheap gate may have this share of the mask's parameters and of its multiply-adds."""


def check_16_1(test_mask_ignores_trunk: Function) -> None:
    """does a parameter of the trunk get a gradient from the mask?"""
    _examine(test_mask_ignores_trunk, "trunk in mask")


def check_16_2(test_mask_nests: Function) -> None:
    """what sizes do the maps after the pools have, in order?"""
    _examine(test_mask_nests, "never nests")


def check_16_3(test_interpolation_is_bilinear: Function) -> None:
    """recompute what each interpolation returned from what went in, with align_corners=True"""
    _examine(test_interpolation_is_bilinear, "nearest")


def check_16_4(test_no_norm_before_sigmoid: Function) -> None:
    """which layer stands right before the last one in module.mask.head?"""
    _examine(test_no_norm_before_sigmoid, "norm before sigmoid")


def check_16_5(test_every_parameter_is_used: Function) -> None:
    """after backward from the module's output, whose .grad is None?"""
    _examine(test_every_parameter_is_used, "unused projections")


def check_16_6(test_gate_is_residual: Function) -> None:
    """compare the input of module.after with (1 + M) T, made of the mask's and trunk's outputs"""
    half = healthy()
    half.__class__ = HalfGate
    _examine(test_gate_is_residual, "gate without 1", ("H = (1 + M/2) T", half))


def _examine(test: Function, bug: str, *others: tuple[str, Module]) -> None:
    """The test must pass on healthy modules and raise AssertionError on those with the bug."""
    named: list[tuple[str, Module]] = [("", healthy(**case)) for case in _MODULES]
    named += [*((f'"{bug}"', patient(bug, **case)) for case in _MODULES), *others]
    # In an order that nobody knows, each module as bytes: which is which stays here.
    order = generator(16).permutation(len(named))
    disguised = [place % len(_MODULES) == len(_MODULES) - 1 for place in range(len(named))]
    verdicts = {
        place: beside(run_test, test, pickle.dumps(named[place][1]), disguised[place])
        for place in order
    }
    for place, ((sick, _), case) in enumerate(zip(named, itertools.cycle(_MODULES))):
        failed, said = verdicts[place]
        words = ", ".join(f"{name}={value}" for name, value in case.items())
        words += ", with other names of classes" * disguised[place]
        if sick:
            require(failed, "your test passes on the module with the bug", f"{sick}, {words}")
        else:
            what = "your test fails on a healthy module" + (f": {said}" if said else "")
            hint = "it must hold for every width, depth and seed; what in it is true of one only?"
            if disguised[place]:
                hint = "a subclass may have any name: test what the module computes"
            require(not failed, what, f"healthy({words})", hint)


def run_test(test: Function, module: bytes, disguised: bool) -> tuple[bool, str]:
    """Whether the test of a pickled module raised AssertionError, and what it said.

    disguised: what bugs may change is of subclasses first, which do the same.
    """
    one: Module = pickle.loads(module)
    for _, part in list(one.named_modules()) if disguised else ():
        if isinstance(part, (AttentionModule, MaskBranch, Hourglass, UpsampleBilinear2d)):
            part.__class__ = type("Part", (type(part),), {})
    try:
        verdict = test(one)
    except AssertionError as error:
        return True, str(error)
    require(
        verdict is None,
        f"your test returned {verdict!r}",
        "a test says nothing by returning",
        "raise AssertionError where the bug is: assert condition, message",
    )
    return False, ""


def check_17_1(conv_intensity: Function) -> None:
    """(17.2): 2 operations for each weight at each pixel; 4 bytes for each number of x, of y and of
    the weights, each moved once
    """
    for pixels, cin, cout, kernel in ((65536, 64, 16, 1), (65536, 16, 16, 3), (64, 256, 64, 1)):
        weights = kernel * kernel * cin * cout
        right = 2 * pixels * weights / (4 * (pixels * (cin + cout) + weights))
        where = f"{pixels} pixels, {cin} to {cout} channels, {kernel}x{kernel}"
        got = conv_intensity(pixels, cin, cout, kernel)
        compare("the intensity", got, right, "", 1e-9, where)


def check_17_2(line_sum: Function) -> None:
    """first each thread adds values[thread], values[thread + threads], ...; then half of the
    threads add the other half's cells, then half of those
    """
    for threads, count in ((8, 8), (8, 29), (16, 5), (64, 256)):
        where = f"{threads} threads, {count} numbers"
        values = generator(17, count).standard_normal(count)
        try:
            blocks = [run_block(line_sum, threads, values, seed=seed) for seed in range(8)]
        except MinranError as error:
            hint = "every thread must reach every `yield`: keep it outside of the `if`"
            raise Wrong(str(error).removeprefix("run_block: "), where, hint) from error
        sums = [float(block.shared[0]) for block in blocks]
        require(
            np.ptp(sums) <= 1e-9 or bool(np.isnan(sums).all()),
            "the sum depends on the order in which the threads run",
            f"{where}: cells[0] is {sums[0]:.6g} for one order and {max(sums):.6g} for other",
            "a thread that reads a cell of another must wait at a barrier in between",
        )
        compare("cells[0]", sums[0], values.sum(), "", 1e-9, where)
        cells, numbers = beside(most_read, line_sum, threads, values)
        what = f"a thread reads {cells} cells between two barriers, expected at most 2"
        require(cells <= 2, what, where, "in a tree, a thread adds one other cell to its own")
        own = -(-count // threads)
        what = f"a thread reads {numbers} of the {count} values, expected at most {own}"
        require(numbers <= own, what, where, "values[thread], values[thread + threads], ...")
        levels, barriers = int(np.log2(threads)), blocks[-1].barriers
        require(
            levels <= barriers <= levels + 3,
            f"the threads met at {barriers} barriers, expected {levels} (and at most {levels + 3})",
            where,
            "a tree halves the number of cells at each level: one barrier a level",
        )


class Watched:
    """An array that notes which of its numbers are read."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.read = array, set[int]()

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, key: Any) -> Any:
        self.read.update(np.arange(len(self.array))[key].ravel().tolist())
        return self.array[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self.array[key] = value

    def __getattr__(self, name: str) -> Any:
        if name not in ("size", "shape", "ndim", "dtype"):
            self.read.update(range(len(self.array)))
        return getattr(self.array, name)


def most_read(answer: Function, threads: int, values: np.ndarray) -> tuple[int, int]:
    """The most cells that a thread reads between two barriers, and the most of the values."""
    cells_read, values_read = [0], [0]

    def program(thread: int, threads: int, cells: np.ndarray) -> Iterator[None]:
        shared, own = Watched(cells), Watched(values)
        for _ in answer(thread, threads, shared, own):
            cells_read.append(len(shared.read))
            shared.read.clear()
            yield
        cells_read.append(len(shared.read))
        values_read.append(len(own.read))

    run_block(program, threads)
    return max(cells_read), max(values_read)


def check_17_3(fast_norm_relu: Function) -> None:
    """gamma (x - mean) / sqrt(var + eps) + beta, then max(., 0), written into out"""
    for shape in ((2, 5, 4, 8), (4, 16, 16, 32)):
        x, vectors = _case(shape)
        # The library's kernel on the same numbers in float64.
        wide, gamma, beta, mean, var = (one.astype(np.float64) for one in (x, *vectors.values()))
        wanted = batch_norm(wide, gamma, beta, mean, 1 / np.sqrt(var + 1e-5), relu=True)
        given, out = x.copy(), np.full(shape, np.nan, np.float32)
        fast_norm_relu(given, **vectors, eps=1e-5, out=out)
        where = f"x {shape}, float32"
        compare("out", out, wanted, "", 2e-6, where)
        compare("x, after the call,", given, x, "x belongs to the caller: write to out", 0, where)
    shape = (8, 32, 32, 64)
    x, vectors = _case(shape)
    arrays = {"x": x, **vectors, "out": np.empty(shape, np.float32)}
    passes, fresh = beside(measure, fast_norm_relu, arrays, x.size)
    where = f"x {shape}: {x.nbytes / 1e6:.1f} MB; it made {passes:.1f} passes, {fresh / 1e6:.1f} MB"
    hint = "work with NumPy's functions on x itself, not on np.asarray(x)"
    require(passes >= 0.9, "the check sees no pass over x", where, hint)
    most = x.nbytes / SHARE_OF_BYTES
    require(
        fresh <= most,
        f"it takes {fresh / 1e6:.1f} MB of fresh memory, expected at most {most / 1e6:.1f} MB",
        where,
        "every expression such as x * scale makes a new map; np.multiply(x, scale, out=out) "
        "does not",
    )
    what = f"it goes over the map {passes:.1f} times, expected 3"
    hint = "put gamma, beta, mean and var into two vectors first: y = x scale + shift"
    require(passes <= MOST_PASSES, what, where, hint)


def measure(answer: Function, arrays: Any, whole: int) -> tuple[float, int]:
    """Passes over the map, and bytes of fresh memory; seen from the process that it runs in."""
    return passes_and_bytes(lambda **given: answer(**given, eps=1e-5), arrays, whole)


def _case(shape: tuple[int, ...]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng, channels = generator(173, shape[-1]), shape[-1]
    x = rng.standard_normal(shape).astype(np.float32)
    names = {
        "gamma": rng.uniform(0.5, 2, channels),
        "beta": rng.standard_normal(channels),
        "mean": rng.standard_normal(channels),
        "var": np.append(rng.uniform(0.5, 2, channels - 1), 1e-5),
    }
    return x, {name: vector.astype(np.float32) for name, vector in names.items()}


class _Reference(SqueezeExciteParts):
    def forward(self, x: Tensor) -> Tensor:
        """s(x), spread over the map."""
        s = ops.sigmoid(self.expand(ops.relu(self.reduce(self.squeeze(x)))))
        return self.spread(s.reshape(len(x), 1, 1, -1), x)


def check_18_1(squeeze_excite_cost: Function) -> None:
    """(18.3): two linear layers with bias, C to C / rho and back, run once for an image: after the
    global average there is one position
    """
    for channels, size, reduction in ((64, 32, 16), (256, 8, 4), (16, 7, 2)):
        right = cost(_Reference(channels, reduction), size, channels)
        got = squeeze_excite_cost(channels, size, reduction)
        where = f"C = {channels}, {size}x{size} positions, rho = {reduction}"
        # As floats: 17 / 16 * C**2 is a natural way to write it.
        compare("(parameters, multiply-adds)", got, np.asarray(right, float), "", 1e-12, where)


def check_18_2(SqueezeExcite: type[SqueezeExciteParts]) -> None:
    """(18.2): squeeze, reduce, ReLU, expand, sigmoid; then reshape to (N, 1, 1, C) and
    spread(s, u)
    """
    for n, size, channels in ((3, 6, 8), (2, 5, 16)):
        rng = generator(182, n)
        seed, u = int(rng.integers(1 << 30)), rng.standard_normal((n, size, size, channels))
        kinds = SqueezeExcite, _Reference
        mine, ours = (beside(run_parts, kind, seed, 2 * u + 0.5) for kind in kinds)
        where = f"u ({n}, {size}, {size}, {channels})"
        compare("the output of your gate", mine, ours, "", 1e-9, where)


def run_parts(kind: Any, seed: int, u: np.ndarray) -> Any:
    """What a squeeze-and-excitation gate with weights of that seed makes of u."""
    return kind(u.shape[3], 4, np.random.default_rng(seed), np.float64)(tensor(u))


def check_18_3(CheapGate: type[Module]) -> None:
    """a part that is computed at each position (a 1x1 convolution), with C outputs"""
    for size, channels, depth in ((32, 64, 3), (16, 128, 2), (8, 256, 1)):
        where = f"{size}x{size} positions, {channels} channels"
        rng = generator(183, size)
        seed, u = int(rng.integers(1 << 30)), rng.standard_normal((2, size, size, channels))
        y, costs, _ = beside(gate_facts, CheapGate, seed, u)
        require(costs[0] > 0, "the gate has no parameters", where, "nothing in it can learn")
        got = y.shape if isinstance(y, Tensor) else type(y).__name__
        what = f"the gate outputs {got}, expected the shape {u.shape} of u"
        require(got == u.shape, what, where, "one weight for every number of the trunk")
        values = y.numpy()
        what = "the gate's values do not lie between 0 and 1"
        text = f"{where}: from {values.min():.3g} to {values.max():.3g}"
        require(values.min() >= 0 and values.max() <= 1, what, text, "end with a sigmoid")
        for axes, what in (((1, 2), "position"), (3, "channel")):
            differs = np.ptp(values, axis=axes).max() >= 1e-6
            require(differs, f"the gate does not depend on the {what}", where)
        mask = MaskBranch(Build(np.random.default_rng(0)), channels, depth, 1, "mixed", "hourglass")
        wholes = cost(mask, size, channels)
        for name, part, whole in zip(("parameters", "multiply-adds"), costs, wholes, strict=True):
            share = f"{part / whole:.0%} of the mask's {name}"
            require(
                part <= SHARE * whole,
                f"the gate has {share}, expected at most {SHARE:.0%}",
                f"{where}: {part:,} of {whole:,}",
                "a 1x1 convolution from C to C costs C^2 at each position: go through few "
                "channels, as squeeze-and-excitation does",
            )
    # Every parameter gets a gradient; the far corner changes the middle.
    rng = generator(184)
    seed, u = int(rng.integers(1 << 30)), rng.standard_normal((4, 16, 16, 64))
    other = u.copy()
    other[:, 0, 0] += 10 * rng.standard_normal((4, 64))
    (y, _, unused), (moved, _, _) = (beside(gate_facts, CheapGate, seed, x) for x in (u, other))
    require(
        not np.array_equal(y.numpy()[:, 8, 8], moved.numpy()[:, 8, 8]),
        "the middle of the gate does not see the corner of the map",
        "16x16 positions; the corner changed, and the gate's middle did not",
        "add a part that has seen every position, as a global average has",
    )
    what = f"no gradient reaches the parameter {next(iter(unused), '')}"
    require(not unused, what, "16x16 positions", "is it used in forward?")


def gate_facts(answer: Any, seed: int, u: np.ndarray) -> tuple[Any, tuple[int, int], list[str]]:
    """What a gate with weights of that seed makes of u, its cost, parameters without a gradient."""
    gate = answer(u.shape[3], np.random.default_rng(seed))
    y = gate(tensor(u, dtype="float32"))
    if not isinstance(y, Tensor) or not gate.parameters():
        return y, (gate.num_parameters(), 0), []
    y.backward(np.random.default_rng(seed).standard_normal(y.shape).astype(np.float32))
    grads = {name: parameter.grad for name, parameter in gate.named_parameters()}
    unused = [name for name, grad in grads.items() if grad is None or not np.asarray(grad).any()]
    return y, cost(gate, u.shape[1], u.shape[3]), unused
