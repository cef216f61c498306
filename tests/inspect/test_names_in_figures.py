"""Names that somebody else gave are drawn as they are written, in every figure."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import cbook
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

import minran
from minran import cli, inspect, nn
from minran.errors import DataError
from minran.inspect.style import plain, save_figure

NAMES = [
    "$1_$",
    "$5 and $10 bills",
    r"\alpha",
    r"a\$b",
    r"$\frac{1}{$",
    "x_1^2 100% & #",
    "two\nlines\ttab\rreturn",
    "_hidden",
    "",
    " ",
    "שלום עולם",
    "\u202eright to left",
    "猫",
    "🐈",
    "e\u0301 \u200b",
    "\udcff",
    "a" * 200,
    "<b>&amp;\"'</b>",
    "\x00\x1b[31m",
]


def texts(figure: Any) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_text()]


def draw(figure: Any) -> None:
    """Whatever the names: no error, no formula, and letters that the font lacks warn once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(io.BytesIO(), format="png", dpi=40)
    said = [str(each.message) for each in caught if each.category is UserWarning]
    assert len(said) <= 1, said
    for text in texts(figure):
        words = text.get_text()
        if r"\mathdefault" not in words:  # the powers of ten along an axis
            assert not (text.get_parse_math() and cbook.is_math_text(words) is True)


def attentions(count: int) -> list[Any]:
    model = minran.create_model("attention_nano").eval()
    return inspect.attention_maps(model, np.zeros((count, 32, 32, 3), np.float32))


ROWS = [{"kind": "epoch", "step": s, "epoch": s, "train_loss": 1 / s} for s in (1, 2)]


@pytest.fixture(scope="module")
def maps() -> list[Any]:
    return attentions(len(NAMES))


COUNT = len(NAMES)
IMAGES = np.zeros((COUNT, 8, 8, 3), np.uint8)
ANSWERS = [f"{name}\n70%" for name in NAMES]
SHARES = np.full((1, COUNT), 1 / COUNT)
FIGURES: dict[str, Callable[[list[Any]], Any]] = {
    "predictions": lambda maps: inspect.prediction_figure(IMAGES[:1], SHARES, NAMES, COUNT),
    "masks": lambda maps: inspect.mask_figure(IMAGES, maps, None, NAMES, np.arange(COUNT)),
    "gradcam": lambda maps: inspect.gradcam_figure(IMAGES, np.zeros((COUNT, 4, 4)), ANSWERS),
    "confusion": lambda maps: inspect.confusion_figure(np.eye(COUNT, dtype=int), NAMES),
    "epochs": lambda maps: inspect.mask_over_epochs_figure(IMAGES[:1], dict.fromkeys(NAMES, maps)),
    "curves": lambda maps: inspect.curves_figure(dict.fromkeys(NAMES, ROWS)),
    "responses": lambda maps: inspect.response_figure(
        {name: {"stage 1": 1.0, "stage 2": 2.0} for name in NAMES}
    ),
    "quickstart": lambda maps: inspect.quickstart_figure(
        ROWS, IMAGES, [], None, NAMES, np.arange(COUNT), np.roll(np.arange(COUNT), 1)
    ),
}


@pytest.mark.parametrize("kind", FIGURES)
def test_every_figure(kind: str, maps: list[Any]) -> None:
    draw(FIGURES[kind](maps[:1]))


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_run_is_in_the_legend_whatever_its_name(name: str) -> None:
    figure = inspect.curves_figure({name: ROWS, "other": ROWS})
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == [f"{plain(name)} train", "other train"]


def test_what_a_name_becomes() -> None:
    assert plain("cat") == "cat"
    assert plain("$5") == r"\$5"
    assert plain("a\nb") == r"a\nb"
    assert plain("_x") == " _x"
    assert plain("") == '""'
    assert plain("a" * 30 + "b" * 30, 20) == "a" * 10 + "…" + "b" * 9


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_drawing_is_xml(name: str, tmp_path: Path) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            setattr(self, name, nn.Conv2d(3, 2, 1))

        def __call__(self, x: Any) -> Any:
            return getattr(self, name)(x)

    drawing = inspect.module_graph(Net(), image_size=8)
    file = drawing.save(tmp_path / "net.svg")
    ElementTree.fromstring(file.read_text(encoding="utf-8"))


def folder_of(place: Path) -> None:
    place.mkdir(parents=True)
    (place / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))


def test_runs_of_one_name_are_told_apart(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place in ("a/seed-0", "b/seed-0", "b/seed-1", "x/b/seed-0", "_c"):
        folder_of(Path(place))
    seen: list[list[str]] = []
    real = inspect.curves_figure
    monkeypatch.setattr(
        inspect, "curves_figure", lambda found: (seen.append(list(found)), real(found))[1]
    )
    assert cli.main(["plot", "a/seed-0", "b/seed-0", "b/seed-1", "x/b/seed-0", "_c/"]) == 0
    here = tmp_path.name
    assert seen == [["a/seed-0", f"{here}/b/seed-0", "seed-1", "x/b/seed-0", "_c"]]
    assert cli.main(["plot", "a/seed-0", "./a/../a/seed-0", str(tmp_path / "a/seed-0")]) == 0
    assert seen[1] == ["seed-0"], "one run, however often and in what way it is named"


@pytest.mark.parametrize("ending", [".png", ".PNG", ".svg", ".pdf", ".Pdf"])
def test_the_ending_says_what_the_file_holds(ending: str, tmp_path: Path) -> None:
    begins = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    file = save_figure(inspect.curves_figure({"a": ROWS}), tmp_path / f"x{ending}")
    assert file.read_bytes().startswith(begins[ending[1:].lower()])
    assert [one.name for one in tmp_path.iterdir()] == [f"x{ending}"]


@pytest.mark.parametrize("name", ["x.xyz", "x", "x.jpg.txt", ".png", "x.svgz", "x.", "png"])
def test_other_endings_are_refused(name: str, tmp_path: Path) -> None:
    figure = inspect.curves_figure({"a": ROWS})
    with pytest.raises(DataError, match=r"must end in \.png or \.svg or \.pdf"):
        save_figure(figure, tmp_path / name)
    with pytest.raises(DataError, match=r"must end in \.svg"):
        inspect.Svg("<svg/>").save(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["attention_nano", "attention_small_cifar", "resnet164_cifar"])
def test_the_report_of_any_network(name: str) -> None:
    """Without masks, or with few, nothing is cut off: all words lie within the figure."""
    options = {"t": 1, "widths": [8, 8]} if name == "attention_nano" else {}
    model = minran.create_model(name, 2, **options)
    test = SimpleNamespace(
        images=np.zeros((8, 32, 32, 3), np.uint8),
        labels=np.arange(8) % 2,
        class_names=["a very long name of a class of images", "dog"],
        masks=None,
    )
    figure = inspect.quickstart_report(model, ROWS, test, lambda x: x.astype(np.float32) / 64)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    # Numbers along an axis may lie outside of it; they are not drawn then.
    words = [text for text in texts(figure) if any(map(str.isalpha, text.get_text()))]
    page = figure.bbox
    for text in words:
        box = text.get_window_extent(renderer)
        assert box.x0 >= page.x0 - 1 and box.x1 <= page.x1 + 1, text.get_text()
    told = " ".join(text.get_text() for text in words)
    assert ("Masks:" in told) == name.startswith("attention")
