"""Plausible wrong answers to the tasks of notebooks 16 to 18."""

from __future__ import annotations

import numpy as np

from minran import nn, ops
from minran.models import MaskBranch
from minran.models.units import Build
from minran.workshop.course.clinic import features_for, trace
from minran.workshop.course.gates import SqueezeExciteParts


def always_passes(module):
    module(features_for(module))


def always_fails(module):
    raise AssertionError("broken")


def returns(module):
    return True


def mask_alone(module):
    x = features_for(module)
    first = module.mask(x).data.copy()
    for parameter in module.trunk.parameters():
        parameter.data *= 2
    assert (module.mask(x).data == first).all()


def counts_sixteen(module):
    assert module.num_parameters() == 16 * 221


def all_shapes(module):
    calls = trace(module, features_for(module))
    assert calls["mask"].output.shape == calls["trunk"].output.shape


def smallest_is_four(module):
    calls = trace(module, features_for(module))
    heights = [c.output.shape[1] for c in calls.values() if isinstance(c.module, nn.MaxPool2d)]
    assert min(heights) == 4


def class_names(module):
    assert type(module).__name__ == "AttentionModule"
    assert type(module.mask.body).__name__ == "Hourglass"
    assert type(module.mask.body.interpolate).__name__ == "UpsampleBilinear2d"


def known_bugs(module):
    bugs = ("TrunkInMask", "LeakyMask", "FlatHourglass", "NearestUpsample", "NakedGate")
    assert not any(type(part).__name__ in bugs for _, part in module.named_modules())


def half_pixels(module):
    for name, call in trace(module, features_for(module)).items():
        if name.endswith("interpolate"):
            y = ops.upsample_bilinear2d(call.inputs[0], call.output.shape[1:3], align_corners=False)
            assert np.allclose(call.output.data, y.data)


def interpolation_class(module):
    for call in trace(module, features_for(module)).values():
        if "interpolate" in str(call.module):
            assert isinstance(call.module, nn.UpsampleBilinear2d)


def no_norm_in_the_head(module):
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in module.mask.head)


def ends_in_a_sigmoid(module):
    assert isinstance(list(module.mask.head)[-1], nn.Sigmoid)


def gradients_are_not_zero(module):
    y = module(features_for(module))
    y.backward(np.ones(y.shape))
    assert all(p.grad.any() for p in module.parameters() if p.grad is not None)


def gradients_before_backward(module):
    module(features_for(module))
    assert all(p.grad is not None for p in module.parameters())


def naive(module):
    calls = trace(module, features_for(module))
    expected = calls["mask"].output.data * calls["trunk"].output.data
    assert np.allclose(calls["after"].inputs[0].data, expected)


def larger_than_the_trunk(module):
    calls = trace(module, features_for(module))
    gated, trunk = calls["after"].inputs[0].data, calls["trunk"].output.data
    assert np.abs(gated).mean() >= np.abs(trunk).mean()


def says_residual(module):
    assert module.learning == "residual"


def intensity(operations, numbers):
    def conv_intensity(pixels, channels_in, channels_out, kernel=1):
        weights = kernel * kernel * channels_in * channels_out
        return operations * pixels * weights / (4 * numbers(pixels, channels_in, channels_out))

    return conv_intensity


def one_barrier(thread, threads, cells, values):
    cells[thread] = sum(values[thread::threads])
    yield
    half = threads // 2
    while half:
        if thread < half:
            cells[thread] += cells[thread + half]
        half //= 2


def barrier_in_the_branch(thread, threads, cells, values):
    cells[thread] = sum(values[thread::threads])
    half = threads // 2
    while half:
        if thread < half:
            yield
            cells[thread] += cells[thread + half]
        half //= 2


def no_stride(thread, threads, cells, values):
    cells[thread] = values[thread] if thread < len(values) else 0
    half = threads // 2
    while half:
        yield
        if thread < half:
            cells[thread] += cells[thread + half]
        half //= 2


def one_thread(thread, threads, cells, values):
    cells[thread] = sum(values[thread::threads])
    yield
    if thread == 0:
        cells[0] = cells.sum()


def barriers_for_show(thread, threads, cells, values):
    cells[thread] = sum(values[thread::threads])
    for _ in range(int(np.log2(threads))):
        yield
    if thread == 0:
        cells[0] = sum(cells[i] for i in range(threads))


def all_by_everybody(thread, threads, cells, values):
    cells[thread] = sum(values[i] for i in range(len(values)))
    for _ in range(int(np.log2(threads))):
        yield


def no_barrier(thread, threads, cells, values):
    cells[thread] = sum(values[thread::threads])


def many_maps(x, gamma, beta, mean, var, eps, out):
    y = gamma * ((x - mean) / np.sqrt(var + eps)) + beta
    out[...] = np.where(y > 0, y, 0)


def five_passes(x, gamma, beta, mean, var, eps, out):
    np.subtract(x, mean, out=out)
    np.divide(out, np.sqrt(var + eps), out=out)
    np.multiply(out, gamma, out=out)
    np.add(out, beta, out=out)
    np.maximum(out, 0, out=out)


def in_place(x, gamma, beta, mean, var, eps, out):
    x -= mean
    np.multiply(x, gamma / np.sqrt(var + eps), out=out)
    np.add(out, beta, out=out)
    np.maximum(out, 0, out=out)


def folded(scale, relu=True, kind=np.float32):
    def fast_norm_relu(x, gamma, beta, mean, var, eps, out):
        a = scale(gamma, var, eps).astype(kind)
        np.multiply(x, a, out=out)
        np.add(out, (beta - mean * a).astype(np.float32), out=out)
        if relu:
            np.maximum(out, 0, out=out)

    return fast_norm_relu


def right_scale(gamma, var, eps):
    return gamma / np.sqrt(var + eps)


def returns_only(x, gamma, beta, mean, var, eps, out):
    scale = gamma / np.sqrt(var + eps)
    return np.maximum(x * scale + (beta - mean * scale), 0)


def at_every_position(channels, size, reduction=4):
    few = channels // reduction
    return 2 * channels * few + few + channels, 2 * channels * few * size**2


def no_bias(channels, size, reduction=4):
    return 2 * channels * (channels // reduction), 2 * channels * (channels // reduction)


def one_layer(channels, size, reduction=4):
    few = channels // reduction
    return channels * few + few, channels * few


def plain(x):
    return x


def weights(parts, u, relu=ops.relu, sigmoid=ops.sigmoid):
    return sigmoid(parts.expand(relu(parts.reduce(parts.squeeze(u)))))


def spread(parts, u, **how):
    return parts.spread(weights(parts, u, **how).reshape(len(u), 1, 1, -1), u)


def gate(forward):
    return type("Gate", (SqueezeExciteParts,), {"forward": forward, "__module__": "wrong"})


class ChannelOnly(SqueezeExciteParts):
    def __init__(self, channels, rng):
        super().__init__(channels, 16, rng)

    forward = spread


class LocalOnly(nn.Module):
    def __init__(self, channels, rng):
        self.reduce = nn.Conv2d(channels, channels // 16, 1, rng=rng)
        self.expand = nn.Conv2d(channels // 16, channels, 1, bias=True, rng=rng)

    def forward(self, u):
        return ops.sigmoid(self.expand(ops.relu(self.reduce(u))))


class Unbounded(LocalOnly):
    def forward(self, u):
        return self.expand(ops.relu(self.reduce(u)))


class OneMap(nn.Module):
    def __init__(self, channels, rng):
        self.score = nn.Conv2d(channels, 1, 1, rng=rng)

    def forward(self, u):
        return ops.sigmoid(self.score(u))


class Costly(MaskBranch):
    def __init__(self, channels, rng):
        super().__init__(Build(rng), channels, 1, 1, "mixed", "hourglass")


class NothingToLearn(nn.Module):
    def __init__(self, channels, rng):
        self.pool = nn.GlobalAvgPool()

    def forward(self, u):
        return ops.sigmoid(u + self.pool(u).reshape(len(u), 1, 1, -1))


class Unused(LocalOnly):
    def __init__(self, channels, rng):
        super().__init__(channels, rng)
        self.pool = nn.GlobalAvgPool()
        self.spare = nn.Linear(channels, 1, rng=np.random.default_rng(0))

    def forward(self, u):
        whole = self.pool(u).sum(axis=1).reshape(-1, 1, 1, 1)
        return ops.sigmoid(self.expand(ops.relu(self.reduce(u) + whole)))


WRONG = {
    "16.1": [
        ("runs the mask alone", mask_alone),
        ("asks for names of classes", class_names, "test what the module computes"),
        ("asks for names of bugs", known_bugs),
        ("compares shapes", all_shapes),
        ("returns a verdict", returns),
        ("fails always", always_fails),
    ],
    "16.2": [
        ("a number seen once", smallest_is_four),
        ("asks for names of classes", class_names, "test what the module computes"),
        ("compares shapes of the whole", all_shapes),
        ("only runs it", always_passes),
    ],
    "16.3": [
        ("half-pixel centres", half_pixels),
        ("asks for the class", interpolation_class),
        ("asks for names of classes", class_names, "test what the module computes"),
        ("compares shapes", all_shapes),
    ],
    "16.4": [
        ("no batch norm at all", no_norm_in_the_head),
        ("looks at the last layer only", ends_in_a_sigmoid),
        ("only runs it", always_passes),
    ],
    "16.5": [
        ("leaves out those without a gradient", gradients_are_not_zero),
        ("before backward", gradients_before_backward),
        ("a count seen once", counts_sixteen),
    ],
    "16.6": [
        ("the naive gate", naive),
        ("only that H is larger than T", larger_than_the_trunk, "(1 + M/2) T"),
        ("asks for names of classes", class_names, "test what the module computes"),
        ("believes the label", says_residual),
        ("compares shapes", all_shapes),
    ],
    "17.1": [
        ("counts a multiply-add once", intensity(1, lambda p, i, o: p * (i + o) + i * o)),
        ("forgets the output", intensity(2, lambda p, i, o: p * i + i * o)),
        ("forgets the weights", intensity(2, lambda p, i, o: p * (i + o))),
    ],
    "17.2": [
        ("one barrier only", one_barrier),
        ("a barrier that some never reach", barrier_in_the_branch),
        ("only the first numbers", no_stride),
        ("one thread adds the cells", one_thread),
        (
            "one thread adds the cells after enough barriers",
            barriers_for_show,
            "adds one other cell",
        ),
        ("every thread adds all values", all_by_everybody, "reads 8 of the 8 values"),
        ("no tree at all", no_barrier),
    ],
    "17.3": [
        ("as it was", many_maps),
        ("no fresh memory, five passes", five_passes),
        ("overwrites x", in_place),
        ("forgets the ReLU", folded(right_scale, relu=False)),
        ("divides by the variance", folded(lambda gamma, var, eps: gamma / (var + eps))),
        ("forgets eps", folded(lambda gamma, var, eps: gamma / np.sqrt(var))),
        ("rounds the scale to half", folded(right_scale, kind=np.float16)),
        ("returns a new map", returns_only),
    ],
    "18.1": [
        ("runs at every position", at_every_position),
        ("forgets the biases", no_bias),
        ("only the first layer", one_layer),
    ],
    "18.2": [
        ("no ReLU between the layers", gate(lambda self, u: spread(self, u, relu=plain))),
        ("no sigmoid", gate(lambda self, u: spread(self, u, sigmoid=plain))),
        ("one number a channel, not spread", gate(weights)),
        ("gates the input instead of giving the gate", gate(lambda self, u: u * spread(self, u))),
        ("an object", SqueezeExciteParts(8)),
    ],
    "18.3": [
        ("does not know positions", ChannelOnly),
        ("sees one position only", LocalOnly),
        ("no sigmoid", Unbounded),
        ("one map for all channels", OneMap),
        ("an hourglass of depth 1", Costly),
        ("a layer that is not used", Unused),
        ("no parameters", NothingToLearn, "no parameters"),
    ],
}
