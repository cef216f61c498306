"""Plausible wrong tests for notebook 16: they miss the bug, or fail on the healthy module."""

from __future__ import annotations

import numpy as np

from minran import nn, ops
from minran.workshop.course.clinic import features_for, trace


def always_passes(module):
    module(features_for(module))


def always_fails(module):
    raise AssertionError("broken")


def returns(module):
    return True


def mask_alone(module):
    """Runs the mask without its module: the leak comes from the module's forward."""
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


def says_residual(module):
    assert module.learning == "residual"


WRONG = {
    "16.1": [
        ("runs the mask alone", mask_alone),
        ("compares shapes", all_shapes),
        ("returns a verdict", returns),
        ("fails always", always_fails),
    ],
    "16.2": [
        ("a number seen once", smallest_is_four),
        ("compares shapes of the whole", all_shapes),
        ("only runs it", always_passes),
    ],
    "16.3": [
        ("half-pixel centres", half_pixels),
        ("asks for the class", interpolation_class),
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
        ("believes the label", says_residual),
        ("compares shapes", all_shapes),
    ],
}
