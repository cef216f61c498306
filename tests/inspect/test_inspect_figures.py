"""Figures: drawn without pyplot, from whatever history there is, in light and dark."""

from __future__ import annotations

import io
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from minran import create_model, tensor
from minran.errors import ShapeError
from minran.inspect import (
    Attention,
    attention_maps,
    before_after_figure,
    class_probabilities,
    confusion_figure,
    curves_figure,
    gradcam_figure,
    histogram_figure,
    mask_figure,
    mask_over_epochs_figure,
    prediction_figure,
    quickstart_figure,
    quickstart_report,
    response_figure,
)
from minran.inspect.curves import points

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
TRUE = np.zeros((4, 32, 32), np.bool_)
TRUE[:, 8:16, 8:16] = True
NAMES = ("disc", "ring")
HISTORY = [
    {"epoch": 1, "step": 10, "train_loss": 2.0, "train_accuracy": 0.2, "test_accuracy": 0.3},
    {"epoch": 2, "step": 20, "train_loss": 1.0, "train_accuracy": 0.5, "test_loss": 0.9, "lr": 0.1},
    {"epoch": 3, "step": 30, "train_loss": float("nan"), "test_accuracy": 0.6, "seconds": 3},
]


@pytest.fixture(scope="module")
def attentions() -> list[Attention]:
    pictures = (IMAGES / 255 - 0.5).astype(np.float32)
    return attention_maps(create_model("attention_nano"), pictures)


def drawn(figure, width: int = 200) -> np.ndarray:
    """Draw it for real; the pixels, to see that there is something."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba", dpi=40)
    pixels = np.frombuffer(buffer.getvalue(), np.uint8).reshape(-1, 4)
    assert len(np.unique(pixels, axis=0)) > 10
    return pixels


def words(figure) -> str:
    return " ".join(t.get_text() for t in figure.findobj(lambda o: hasattr(o, "get_text")))


@pytest.mark.parametrize("dark", [False, True])
def test_quickstart_figure(attentions: list[Attention], dark: bool) -> None:
    figure = quickstart_figure(
        HISTORY, IMAGES, attentions, TRUE, NAMES, [0, 1, 0, 1], [0, 1, 1, 1], dark=dark
    )
    paper = drawn(figure)[0]
    assert (paper[:3] < 60).all() if dark else (paper[:3] > 250).all()
    for part in ("true object", "stage 1", "stage 2", "60.0%", "(not ring)", "skewness"):
        assert part in words(figure)
    assert figure._repr_png_().startswith(b"\x89PNG")
    plain = quickstart_figure(
        [], IMAGES[:1], attentions, None, NAMES, [0], [0], rule=None, title="Mine"
    )
    drawn(plain)
    assert "Mine" in words(plain) and "mean over channels" in words(plain)


def test_quickstart_report_shows_the_first_picture_of_each_class() -> None:
    test = SimpleNamespace(
        images=IMAGES, labels=np.array([1, 1, 0, 1]), class_names=NAMES, masks=TRUE
    )

    def prepare(images: np.ndarray) -> np.ndarray:
        return (images / 255 - 0.5).astype(np.float32)

    model = create_model("attention_nano", num_classes=2)
    figure = quickstart_report(model, HISTORY, test, prepare)
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    np.testing.assert_array_equal(shown[0], IMAGES[0] / 255)
    np.testing.assert_array_equal(shown[4], IMAGES[2] / 255)
    assert len(shown) == 2 * 4


def test_predictions() -> None:
    model = create_model("attention_nano", num_classes=2)
    pictures = (IMAGES / 255 - 0.5).astype(np.float32)
    probabilities = class_probabilities(model, pictures, batch_size=3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    logits = model.eval()(tensor(pictures)).numpy()
    ratio = np.log(probabilities[:, 0] / probabilities[:, 1])
    np.testing.assert_allclose(ratio, logits[:, 0] - logits[:, 1], rtol=1e-3, atol=1e-3)
    figure = prediction_figure(IMAGES, np.tile([0.25, 0.75], (4, 1)), NAMES)
    drawn(figure)
    assert "75.0%" in words(figure) and "disc" in words(figure)


def test_mask_figures_say_how_channels_were_chosen(attentions: list[Attention]) -> None:
    figure = mask_figure(IMAGES, attentions, TRUE, NAMES, [0, 1, 1, 0], rule="variance")
    drawn(figure)
    assert "largest variance over positions" in words(figure) and "disc" in words(figure)
    assert len(figure.axes) == 4 * (1 + 2 * 3 + 1)
    figure = before_after_figure(IMAGES[:2], attentions[1])
    drawn(figure)
    assert "largest variance" in words(figure)
    assert "channel 5: given by hand" in words(before_after_figure(IMAGES, attentions[0], 5))
    with pytest.raises(ShapeError, match="true_masks"):
        mask_figure(IMAGES, attentions, TRUE[:2])


def test_confusion() -> None:
    counts = np.array([[8, 2], [0, 5]])
    figure = confusion_figure(counts, ["disc", "a $ ring"])
    drawn(figure)
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), [[0.8, 0.2], [0, 1]])
    assert {text.get_text() for text in figure.axes[0].texts} == {"8", "2", "5"}
    assert "true class" in words(figure) and "disc" in words(figure)
    many = confusion_figure(np.zeros((100, 100), int), [f"class {k}" for k in range(100)], True)
    drawn(many)
    assert not many.axes[0].texts and 30 <= len(many.axes[0].get_xticks()) <= 40


def test_histograms_and_epochs(attentions: list[Attention]) -> None:
    figure = histogram_figure(attentions, bins=10)
    drawn(figure)
    heights = [patch.get_height() for patch in figure.axes[0].patches]
    assert sum(heights) == pytest.approx(1)
    figure = mask_over_epochs_figure(
        IMAGES[:2], {"epoch 1": attentions, "epoch 2": attentions}, index=1, dark=True
    )
    drawn(figure)
    assert "epoch 2" in words(figure) and "stage 2" in words(figure)


def test_curves_of_histories_with_holes() -> None:
    figure = curves_figure({"a": HISTORY, "b": []}, ("loss", "accuracy", "lr"), dark=True)
    drawn(figure)
    lines = {line.get_label(): line for axes in figure.axes for line in axes.lines}
    assert list(lines["a train"].get_ydata()) == [0.2, 0.5]
    assert list(lines["a test"].get_xdata()) == [1, 3]
    empty = curves_figure({"nothing": []})
    drawn(empty)
    assert "no values" in words(empty)
    drawn(response_figure({"residual": {"stage 1": 1.0, "stage 2": 2.0}}))


def test_rows_between_epochs_are_placed_by_step() -> None:
    rows = [{"epoch": 1, "step": s, "train_loss": 1.0} for s in (5, 10)]
    rows += [{"epoch": 2, "step": s, "train_loss": 0.5} for s in (15, 20)]
    rows[1]["test_loss"] = rows[3]["test_loss"] = 0.7
    assert points(rows, "train_loss")[0] == [0.5, 1.0, 1.5, 2.0]
    assert points(rows, "test_loss") == ([1.0, 2.0], [0.7, 0.7])
    from_zero = [{"epoch": 0, "step": 10, "lr": 1.0}, {"epoch": 1, "step": 20, "lr": 0.1}]
    assert points(from_zero, "lr")[0] == [1.0, 2.0]
    assert points([{"step": 7, "lr": 1.0}, {"step": 9, "lr": 1.0}], "lr")[0] == [7, 9]


def test_matplotlib_is_imported_only_to_draw_and_pyplot_never() -> None:
    code = (
        "import sys, minran.inspect as i\n"
        "assert not any(n.startswith('matplotlib') for n in sys.modules), 'matplotlib'\n"
        "i.curves_figure({'a': [{'epoch': 1, 'lr': 0.1}]}, ('lr',))._repr_png_()\n"
        "assert 'matplotlib.pyplot' not in sys.modules, 'pyplot'\n"
        "assert not any(n.startswith(('minran.data', 'minran.train')) for n in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("dark", [False, True])
def test_figure_of_gradcam(attentions: list[Attention], dark: bool) -> None:
    maps = np.linspace(0, 1, 128).reshape(2, 8, 8)
    whole = gradcam_figure(IMAGES[:2], maps, ["a", "b"], attentions, TRUE[:2], dark)
    assert len(whole.axes) == 2 * 5
    drawn(whole)
    assert len(gradcam_figure(IMAGES[:2], maps, ["a", "b"]).axes) == 2 * 2


def test_rows_have_one_scale_and_the_figure_says_which() -> None:
    """A map of 0 to 0.23 is darker than one of 0.77 to 1, unless each is stretched."""
    image = np.zeros((2, 8, 8, 3), np.uint8)
    # Whole 64ths: both maps are resized and stretched without rounding, so to the same bits.
    maps = (np.arange(16).reshape(1, 4, 4) + np.array([0, 49])[:, None, None]) / 64
    mask = maps[..., None]
    attention = Attention("stages.0.1", mask, mask, mask)
    for draw in (
        lambda **how: mask_figure(image, [attention], **how),
        lambda **how: mask_over_epochs_figure(image, {"epoch 1": [attention]}, **how),
        lambda **how: gradcam_figure(image, maps, ["a", "b"], **how),
    ):
        shared, own = draw(), draw(stretch=True)
        first, second = (shared.axes[k].images[0].get_array() for k in (1, 3))
        assert first.sum() < second.sum()  # brightness grows along the colours
        said = " ".join(words(shared).split())
        assert "0 to 1" in said and "highest value, printed above" in said
        first, second = (own.axes[k].images[0].get_array() for k in (1, 3))
        np.testing.assert_array_equal(first, second)
        said = " ".join(words(own).split())
        assert "0 to 1" not in said and "each map from its own" in said
    classes = ["a", "b"], [0, 1], [0, 1]
    quick = quickstart_figure([], image, [attention], None, *classes, rule=None)
    pictures = [axes.images[0].get_array() for axes in quick.axes if axes.images]
    assert pictures[1].sum() < pictures[3].sum() and "0 to 1" in " ".join(words(quick).split())
    tiny = np.array([1e-9, 0.123456])[:, None, None] * np.ones((2, 4, 4))
    assert "0 to 0.123" in words(gradcam_figure(image, tiny, ["a", "b"]))


def test_one_epoch_has_numbers_that_tell_apart() -> None:
    row = {"epoch": 1, "train_accuracy": 0.1008, "test_accuracy": 0.1012}
    (axes,) = curves_figure({"run": [row]}, panels=("accuracy",)).axes
    axes.figure.canvas.draw()
    seen = [label.get_text() for label in axes.get_yticklabels()]
    assert len(set(seen)) == len(seen), seen
    assert {tick % 1 for tick in axes.get_xticks()} == {0.0}
