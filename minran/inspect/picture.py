"""The figure that a notebook shows without pyplot: the only file that needs matplotlib to begin."""

from __future__ import annotations

import base64
import io
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from minran.inspect.themes import DARK, LIGHT, PAGES, SYMBOLS


class Picture(Figure):
    """A Figure that a notebook shows without pyplot; `savefig` writes it."""

    alt = ""
    """What `seen` says where titles and names do not say enough."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
        images, words = self._images(), self.seen()
        shown = {"image/png": images[0]}
        if len(images) > 1:
            shown["text/html"] = _as_html(images, words)
        return shown, {"image/png": {"alt": words}}

    def seen(self) -> str:
        """What is seen, for those who do not see it: `alt`, or titles and names of the figure."""
        parts, before = [self.get_suptitle()], ""
        for kind, words in map(_panel, self.axes):
            if words:  # a kind is said once for panels in a row
                parts.append(words if kind == before else f"{kind}: {words}")
                before = kind
        said = (re.sub(r"\s+|[$\\]", " ", part).strip() for part in parts)
        return self.alt or "; ".join(dict.fromkeys(filter(None, said)))

    def as_html(self, alt: str, style: str = "") -> str:
        """An <img> of the figure; where pages are made, one for light and one for dark pages."""
        return _as_html(self._images(), alt, style)

    def _images(self) -> list[str]:
        """The figure as base64 PNG; where pages are made, in dark colours too."""
        images = [self._repr_png_()]
        if os.environ.get(PAGES):
            layout = self.get_layout_engine()
            self.set_layout_engine("none")  # to find all positions takes most of the time
            try:
                with darkened(self):
                    images.append(self._repr_png_())
            finally:
                self.set_layout_engine(layout)
        return [base64.b64encode(image).decode() for image in images]

    def savefig(self, *args: Any, **options: Any) -> None:
        """As Matplotlib's, but letters that the font lacks make one warning, not hundreds."""
        missing: set[str] = set()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            super().savefig(*args, **options)
        for one in caught:
            if found := re.match(r"Glyph (\d+) ", str(one.message)):
                missing.add(chr(int(found[1])))
            else:
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        if missing:
            letters = " ".join(sorted(missing)[:8]) + (" ..." if len(missing) > 8 else "")
            words = f"the figure's font has no letters for {letters}: boxes stand in their place"
            warnings.warn(words, stacklevel=2)


def _as_html(images: Sequence[str], alt: str, style: str = "") -> str:
    look, html = f' style="{style}"' * bool(style), ""
    for image, kind in zip(images, ("only-light", "only-dark")):
        of = f' class="{kind}"' * (len(images) > 1)
        html += f'<img src="data:image/png;base64,{image}"{of}{look} alt="{escape(alt)}">'
    return html


def _panel(axes: Axes) -> tuple[str, str]:
    """What kind of panel it is, and what it says of itself."""
    title, x, y = axes.get_title("left") or axes.get_title(), axes.get_xlabel(), axes.get_ylabel()
    if axes.get_label() == "<colorbar>":
        return "colours", x or y
    if axes.images:
        return "image", ", ".join(filter(None, (y, title, x)))
    texts = (text.get_text() for text in axes.texts)
    inside = ", ".join(dict.fromkeys(text for text in texts if re.search("[A-Za-z]{2}", text)))
    names = ", ".join(map(str, axes.get_legend_handles_labels()[1]))
    curves = f"{y} over {x}" if x and y else x + y
    kind = "drawing" if not axes.axison else "bars" if axes.containers else "plot"
    shown = (title, inside) if kind == "drawing" else (title, curves, names)
    return kind, ": ".join(filter(None, shown))


SETTINGS = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")
_SWAPPED: dict[tuple[float, ...], tuple[float, ...]] = {
    to_rgba(light)[:3]: to_rgba(dark)[:3]
    for light, dark in (
        ("black", DARK.text),
        *(
            (getattr(LIGHT, name), getattr(DARK, name))
            for name in ("paper", "text", "faint", "grid")
        ),
        *zip(LIGHT.colours, DARK.colours),
        *SYMBOLS.values(),
    )
}


@contextmanager
def darkened(figure: Figure) -> Iterator[None]:
    """Within the block the colours of the light theme are those of the dark one.

    The figure was drawn before, as its ticks exist only then.
    Words on images and maps keep theirs, as the colours below them stay.
    """
    kept = {text for axes in figure.axes if axes.images for text in axes.texts}
    changes = []  # all are found before one is made: a marker may have the colour of its line
    artists = figure.findobj()
    artists += [arrow for one in artists if (arrow := getattr(one, "arrow_patch", None))]
    for artist in artists:
        for name in SETTINGS if artist not in kept else ():
            get, put = (getattr(artist, f"{verb}_{name}", None) for verb in ("get", "set"))
            if get is None or put is None or (name == "color" and hasattr(artist, "get_facecolor")):
                continue
            old = get()
            new = _swapped(old)
            if new is not None:
                changes.append((put, old, new))
    for put, _, new in changes:
        put(new)
    try:
        yield
    finally:
        for put, old, _ in changes:
            put(old)


def _swapped(colour: Any) -> Any:
    """The colour, or each of an array of them, in the dark theme; None where nothing changes."""
    if hasattr(colour, "shape") and colour.ndim == 2:
        rows = [_swapped(tuple(row)) or tuple(row) for row in colour]
        return rows if rows != [tuple(row) for row in colour] else None
    try:
        *rgb, alpha = to_rgba(colour)
    except (ValueError, TypeError):  # "none" is a colour, "auto" is none
        return None
    found = _SWAPPED.get(tuple(rgb)) if alpha else None
    return found and (*found, alpha)
