"""The cases that come with the onnx package, through minran's operations.

Those stored in it (made with PyTorch) and those that its code makes for each operation. Each agrees
or is refused, and then stands in a table of decisions.
"""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnx_cases = pytest.importorskip("onnx.backend.test")

from onnx import numpy_helper  # noqa: E402
from onnx.backend.test.case.node import collect_testcases  # noqa: E402
from suites import onnx_nodes  # noqa: E402
from suites.opinfo_ops import decision, only  # noqa: E402

from minran.errors import MinranError  # noqa: E402

STORED = Path(onnx_cases.__file__).parent / "data"


def load(path: Path) -> np.ndarray:
    return numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


def stored(folder: str) -> list[tuple[str, Any, list[np.ndarray], list[np.ndarray]]]:
    """(name, model, inputs, outputs) of all that `folder` holds."""
    found = []
    for case in sorted((STORED / folder).iterdir()):
        model = onnx.load(case / "model.onnx")
        for data in sorted(case.glob("test_data_set_*")):
            try:
                arrays = [
                    [load(data / f"{kind}_{k}.pb") for k in range(len([*data.glob(f"{kind}_*")]))]
                    for kind in ("input", "output")
                ]
            except Exception:  # a sequence, no array
                arrays = [[], []]
            found.append((case.name, model, *arrays))
    return found


def made() -> list[tuple[str, Any, list[np.ndarray], list[np.ndarray]]]:
    """The same of the cases that onnx makes for the operations that minran has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases("")
    return [
        (case.name, case.model, *(list(map(np.asarray, arrays)) for arrays in data))
        for case in cases
        if {node.op_type for node in case.model.graph.node} <= set(onnx_nodes.NODES)
        for data in case.data_sets
    ]


def check(model: Any, inputs: list[np.ndarray], outputs: list[np.ndarray]) -> None:
    only(all(x.dtype in (np.float32, np.float64) for x in outputs), "types other than floats")
    with np.errstate(all="ignore"):
        results = onnx_nodes.run(model, inputs)
    assert len(results) == len(outputs)
    for mine, expected in zip(results, outputs, strict=True):
        assert mine.shape == expected.shape
        assert mine.dtype == expected.dtype
        # Both sides are rounded in float32, in sums of up to some hundred terms.
        scale = max(1.0, float(np.abs(expected).max(initial=0)))
        np.testing.assert_allclose(mine, expected, rtol=0, atol=1e-5 * scale)


DECISIONS = {
    "an operation of that name": "networks of the paper need none",
    "pictures of 1 or 3": "pictures have two dimensions",
    "types other than floats": "minran calculates with floats of 32 and 64 bits",
    "exponents that are tensors": "x ** n is for a number n",
    "dilation": "no network of the paper has it",
    "interpolation other": "bilinear is what masks are made of",
    "coordinates other": "corners aligned (the authors), or half pixels (PyTorch)",
    "a scale that is no ratio": "sizes are given, so the ratio of sizes is what holds",
    "antialias": "interpolation only enlarges in these networks",
    "weights of classes": "every picture counts alike",
    "ignore_index": "every picture has a label",
    "reductions other": "the loss is the mean",
    "probabilities beside the loss": "log_softmax gives them",
    "logits must be (N, K)": "one label for each picture",
    "auto_pad": "padding is a number of pixels",
    "softmax over other axes": "classes are the last axis",
    "count_include_pad": "zeros outside count; no network pads an average",
    "ceil_mode of an average": "the last window would count fewer pixels; no network needs it",
    "a running variance that is biased": "training keeps the unbiased one, as PyTorch does",
    "a reduction over no axes": "without axes a reduction is over all",
    "must be at most half its kernel": "as in PyTorch: a window would lie outside altogether",
    "matmul: expected (M, K)": "products of matrices only, as linear layers need them",
    "there is no maximum": "of nothing there is none; ONNX says minus infinity",
}
"""What minran refuses (words of its sentence) where ONNX calculates, and why that is so."""

RESULTS: dict[str, dict[str, int]] = {
    "pytorch-operator": {
        "agrees": 18,
        "an operation of that name": 14,
        "pictures of 1 or 3": 1,
        "types other than floats": 1,
        "exponents that are tensors": 1,
    },
    "pytorch-converted": {
        "agrees": 27,
        "pictures of 1 or 3": 27,
        "an operation of that name": 26,
        "dilation": 2,
    },
    "made": {
        "agrees": 137,
        "types other than floats": 34,
        "interpolation other": 26,
        "weights of classes": 16,
        "pictures of 1 or 3": 9,
        "ignore_index": 8,
        "auto_pad": 7,
        "dilation": 7,
        "exponents that are tensors": 7,
        "reductions other": 6,
        "coordinates other": 5,
        "softmax over other axes": 4,
        "count_include_pad": 2,
        "ceil_mode of an average": 2,
        "a running variance that is biased": 2,
        "a reduction over no axes": 2,
        "antialias": 2,
        "probabilities beside the loss": 2,
        "must be at most half its kernel": 2,
        "matmul: expected (M, K)": 6,
        "there is no maximum": 1,
        "a scale that is no ratio": 2,
        "logits must be (N, K)": 1,
    },
}
"""How many cases agree, and how many are refused by which decision (onnx 1.23.2)."""


@pytest.mark.parametrize("source", ["pytorch-operator", "pytorch-converted", "made"])
def test_onnx_cases(source: str) -> None:
    results: Counter[str] = Counter()
    wrong = []
    for name, model, inputs, outputs in made() if source == "made" else stored(source):
        try:
            check(model, inputs, outputs)
            results["agrees"] += 1
        except MinranError as error:
            results[decision(error, DECISIONS)] += 1
        except Exception as error:
            wrong.append(f"{name}: {error!r}"[:300])
    assert not wrong, f"{len(wrong)} cases: " + "\n".join(wrong)
    if onnx.__version__.startswith("1.23."):
        assert results == RESULTS[source]
    assert results["agrees"] >= 0.8 * RESULTS[source]["agrees"]


def test_every_decision_is_needed() -> None:
    assert {words for counts in RESULTS.values() for words in counts} == {"agrees", *DECISIONS}
    assert sum(counts["agrees"] for counts in RESULTS.values()) >= 150
