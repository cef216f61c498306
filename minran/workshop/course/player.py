"""Things to move in a notebook: pictures to step through, sliders.

`frames` needs no JavaScript and no kernel, so it works in a saved page too. `explore` wants
ipywidgets; without it, or where nobody can move a slider, it shows one picture.
"""

from __future__ import annotations

import base64
import itertools
import os
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from minran.errors import expect
from minran.workshop.course.outcome import STATIC

_count = itertools.count()


class Frames:
    """Pictures to step through by clicking, or with the arrow keys; see `frames`."""

    def __init__(self, pictures: Sequence[Any], captions: Sequence[str]) -> None:
        self.pictures, self.captions = list(pictures), list(captions)

    def __repr__(self) -> str:
        return "\n".join(f"{k}. {text}" for k, text in enumerate(self.captions))

    def _repr_html_(self) -> str:
        # Radio buttons that show the picture after them: a browser steps through them alone.
        name = f"minran-frames-{os.getpid()}-{next(_count)}"
        rules, buttons, bodies = [], [], []
        for k, (picture, caption) in enumerate(zip(self.pictures, self.captions, strict=True)):
            one = f"{name}-{k}"
            checked = " checked" if k == 0 else ""
            buttons.append(
                f'<input type="radio" name="{name}" id="{one}"{checked} '
                f'aria-label="{escape(caption, quote=True)}">'
                f'<label for="{one}">{k}</label>'
            )
            bodies.append(
                f'<figure class="f{k}"><figcaption>{escape(caption)}</figcaption>'
                f"{_as_html(picture)}</figure>"
            )
            rules.append(f"#{one}:checked~.f{k}{{display:block}}")
        style = (
            f".{name}{{font:14px system-ui,sans-serif}}"
            f".{name} figure{{display:none;margin:8px 0;overflow-x:auto}}"
            f".{name} figcaption{{margin:6px 0;min-height:1.4em}}"
            f".{name} input{{position:absolute;opacity:0}}"
            f".{name} label{{display:inline-block;min-width:1.3em;text-align:center;cursor:pointer;"
            "border:1px solid #8884;border-radius:4px;padding:1px 5px;margin:1px}"
            f".{name} input:checked+label{{background:#0072B2;color:#fff;border-color:#0072B2}}"
            f".{name} input:focus-visible+label{{outline:2px solid #E69F00}}" + "".join(rules)
        )
        return f'<style>{style}</style><div class="{name}">{"".join(buttons + bodies)}</div>'


def frames(pictures: Sequence[Any], captions: Sequence[str]) -> Frames:
    """Pictures (SVG drawings or matplotlib figures) to step through, each with its caption.

    Raises ShapeError if there are not as many captions as pictures.
    """
    expect(
        len(pictures) == len(captions) > 0,
        f"frames: expected a caption for each picture, got {len(pictures)} pictures and "
        f"{len(captions)} captions",
    )
    return Frames(pictures, captions)


def explore(draw: Callable[..., Any], **choices: Sequence[Any]) -> Any:
    """Call `draw(name=value, ...)` for the values that sliders choose, and show what it returns.

    choices: by name of the argument, the values to choose from; the middle one comes first.
    Without ipywidgets the picture of the first choice is returned, and a line says so.
    """
    start = {name: list(values)[len(values) // 2] for name, values in choices.items()}
    if os.environ.get(STATIC):
        return draw(**start)
    try:
        import ipywidgets
        from IPython.display import display
    except ImportError:
        print('One picture; pip install "minran[notebooks]" gives sliders.')
        return draw(**start)
    sliders = {
        name: ipywidgets.SelectionSlider(
            options=list(values), value=start[name], description=name, continuous_update=False
        )
        for name, values in choices.items()
    }

    def show(**chosen: Any) -> None:
        display(draw(**chosen))

    output = ipywidgets.interactive_output(show, sliders)
    return ipywidgets.VBox([*sliders.values(), output])


def _as_html(picture: Any) -> str:
    if hasattr(picture, "_repr_svg_"):
        return str(picture._repr_svg_())
    data = base64.b64encode(picture._repr_png_()).decode()
    return f'<img src="data:image/png;base64,{data}" style="max-width:100%" alt="">'
