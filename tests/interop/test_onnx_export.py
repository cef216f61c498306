"""Exported files answer as the networks do, in another runtime, to 1e-5."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from minran import create_model, no_grad, ops, tensor
from minran.data import Preprocess, load_shapes
from minran.errors import BackendError, ShapeError
from minran.interop import export_onnx
from minran.models import list_models
from minran.nn import Conv2d, Module

onnx = pytest.importorskip("onnx", reason="the onnx package is not installed")
runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

# Every kind of network at a width and size that take a moment.
SMALL = {
    "attention56": {"stem_width": 16, "widths": (16, 32, 32), "tail_width": 32, "image_size": 64},
    "attention92": {"stem_width": 16, "widths": (16, 32, 32), "tail_width": 32, "image_size": 70},
    "attentionnext56": {"widths": (16, 16, 32), "groups": 4, "tail_width": 32, "image_size": 64},
    "attentionnext92": {"widths": (16, 16, 32), "groups": 8, "tail_width": 32, "image_size": 64},
    "attentioninception56": {"widths": (16, 32, 32), "tail_width": 32, "image_size": 64},
    "resnet164_cifar": {"units": (2, 1, 2)},
}


def trained(name: str, **options) -> Module:
    """A network whose norms are not the identity, and whose logits stay near 1."""
    model = create_model(name, **options)
    rng = np.random.default_rng(5)
    for parameter, values in model.named_parameters():
        if parameter.endswith(("gamma", "beta")):
            values.data[:] = rng.uniform(0.5, 1.0, values.shape)
    size = model.spec.image_size
    with no_grad():
        for _ in range(4):
            pictures = rng.standard_normal((2, size, size, 3))
            model(tensor(pictures.astype(model.fc.weight.dtype)))
    return model


def answers(path, images: np.ndarray) -> np.ndarray:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"images": images})[0]


def assert_same_answers(model: Module, path, count: int = 3) -> None:
    size = model.spec.image_size
    images = np.random.default_rng(6).standard_normal((count, size, size, 3)).astype(np.float32)
    with no_grad():
        own = model.eval()(tensor(images)).numpy()
    scale = np.abs(own).max()
    assert np.ptp(own) > 1e-3 * scale, "all logits alike prove nothing"
    assert np.abs(answers(path, images) - own).max() <= 1e-5 * max(scale, 1)


@pytest.mark.parametrize("name", list_models())
def test_every_model(name: str, tmp_path) -> None:
    model = trained(name, num_classes=7, **SMALL.get(name) or _narrow(name))
    path = export_onnx(model, tmp_path / "model.onnx")
    assert model.training, "the mode of the model is left as it was"
    onnx.checker.check_model(str(path), full_check=True)
    assert_same_answers(model, path)


def _narrow(name: str) -> dict:
    """The CIFAR networks differ in depth alone; the same pieces narrow and few are quicker."""
    if not name.endswith("_cifar") or name == "attention_small_cifar":
        return {}
    modules = (2, 1, 1) if name == "attention92_cifar" else (1, 1, 1)
    return {"widths": (16, 16, 16), "tail_width": 16, "modules": modules}


@pytest.mark.parametrize(
    "options",
    [
        {"attention": "channel"},
        {"attention": "spatial"},
        {"learning": "naive"},
        {"mask": "local"},
        {"mask": "none"},
        {"unit": "resnext", "groups": 4},
        {"unit": "inception", "attention": "channel"},
        {"image_size": 27},
    ],
    ids=str,
)
def test_every_option(options: dict, tmp_path) -> None:
    model = trained("attention_nano", **options)
    assert_same_answers(model, export_onnx(model, tmp_path / "model.onnx"))


def test_the_file_says_what_it_is(tmp_path) -> None:
    """Weights under minran's names, one turn of the input, a free number of pictures."""
    model = trained("attention_nano")
    path = export_onnx(model, tmp_path / "model.onnx", class_names=list("abcdefghij"))
    written = onnx.load(path)
    stored = {array.name: onnx.numpy_helper.to_array(array) for array in written.graph.initializer}
    for name, value in model.state_dict().items():
        expected = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
        np.testing.assert_array_equal(stored[name], expected)
    assert [node.op_type for node in written.graph.node].count("Transpose") == 1
    assert "stages.0.1.mask.head.4" in {node.name for node in written.graph.node}
    (image,) = written.graph.input
    sizes = [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim]
    assert sizes == ["N", 32, 32, 3]
    assert json.loads(written.metadata_props[0].value) == list("abcdefghij")
    assert_same_answers(model, path, count=1)


def test_pictures_go_in_as_they_are(tmp_path) -> None:
    model, pictures = trained("attention_nano"), load_shapes("test", count=5).images
    preprocess = Preprocess.fit(pictures)
    path = export_onnx(model, tmp_path / "model.onnx", preprocess=preprocess)
    with no_grad():
        own = model.eval()(tensor(preprocess(pictures))).numpy()
    np.testing.assert_allclose(answers(path, pictures), own, atol=1e-5 * np.abs(own).max())


def test_a_float64_network_is_written_in_float32(tmp_path) -> None:
    model = trained("attention_nano", dtype="float64", image_size=16)
    path = export_onnx(model, tmp_path / "model.onnx")
    images = np.random.default_rng(6).standard_normal((2, 16, 16, 3))
    with no_grad():
        own = model.eval()(tensor(images)).numpy()
    found = answers(path, images.astype(np.float32))
    assert np.abs(found - own).max() <= 1e-5 * np.abs(own).max()


class Odd(Module):
    """An operation that no network of minran has."""

    def __init__(self) -> None:
        self.conv = Conv2d(3, 4, 3)

    def forward(self, x):
        return ops.global_avg_pool(self.conv(x).exp())


def test_mistakes_are_named(tmp_path, monkeypatch) -> None:
    with pytest.raises(BackendError, match="Exp has no counterpart"):
        export_onnx(Odd(), tmp_path / "model.onnx", image_size=8)
    preprocess = Preprocess(np.zeros((32, 32, 3), np.float32))
    with pytest.raises(ShapeError, match="32x32"):
        export_onnx(create_model("attention_nano"), tmp_path / "m", 16, preprocess)
    assert not list(tmp_path.iterdir())
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(BackendError, match=re.escape("minran[onnx]")):
        export_onnx(create_model("attention_nano"), tmp_path / "model.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("name", list_models())
def test_every_model_at_its_full_size(name: str, tmp_path) -> None:
    model = trained(name)
    assert_same_answers(model, export_onnx(model, tmp_path / "model.onnx"), count=1)


@pytest.mark.parametrize("learning", ["residual", "naive"])
def test_every_step_of_a_module_and_a_painted_mask(learning, tmp_path):
    from minran.live import look

    model = trained("attention_nano", learning=learning).eval()
    path = export_onnx(model, tmp_path / "maps.onnx", maps=True)
    picture = np.random.default_rng(6).standard_normal((32, 32, 3)).astype(np.float32)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    inputs = {
        each.name: np.zeros([side or 1 for side in each.shape], np.float32)
        for each in session.get_inputs()
        if each.name != "images"
    } | {"images": picture[None]}
    painted = np.random.default_rng(7).random((4, 4)).astype(np.float32)

    def compare(shown):
        found = dict(zip(names, session.run(None, inputs), strict=True))
        assert len(found) == 1 + sum(len(steps) for steps in own.modules.values())
        for module, steps in shown.modules.items():
            for step in steps:
                got = found[f"{module}/{step.key}"][0]
                scale = max(np.abs(step.values).max(), 1)
                np.testing.assert_allclose(got, step.values, rtol=0, atol=1e-5 * scale)
        shares = np.exp(found["logits"][0] - found["logits"].max())
        np.testing.assert_allclose(shares / shares.sum(), shown.probabilities, atol=1e-5)

    own = look(model, picture)
    compare(own)
    name = next(iter(own.modules))
    mask = {step.key: step for step in look(model, picture, {name: painted}).modules[name]}["M"]
    inputs[f"{name}/painted"] = mask.values[None, None, :, :, 0]
    inputs[f"{name}/use"] = np.ones((), np.float32)
    compare(look(model, picture, {name: painted}))
