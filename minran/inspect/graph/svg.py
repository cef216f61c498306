"""Drawing the placed boxes as SVG text: nothing but strings, readable in light and dark.

Colours are set twice: as attributes, which every viewer knows, and as a style sheet, which
follows the reader's light or dark mode. A click on the title of a box folds it and unfolds it
again (declarative animation, no script) where the viewer lets pictures be clicked.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape as escape_html
from pathlib import Path
from zlib import crc32

from minran.errors import DataError
from minran.files import expect_ending, write_atomically
from minran.inspect.graph.flow import Node
from minran.inspect.graph.labels import Label
from minran.inspect.graph.layout import Item, Placed, Segment, port_offset
from minran.inspect.style import BOX_COLOURS, DARK, LIGHT, Theme
from minran.streams import visible

FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Arial, sans-serif"
MARGIN = 14.0
# Text that an edge may cross is drawn with a rim in the colour of the paper.
HALO = f'stroke="{LIGHT.paper}" stroke-width="3" stroke-opacity="0.8" paint-order="stroke"'


def escape(text: str) -> str:
    """Text for an SVG: its signs escaped, and letters that XML cannot hold shown as escapes."""
    return escape_html(visible(text))


@dataclass(frozen=True)
class Svg:
    """A drawing as SVG text; a notebook shows it, `save` writes it."""

    text: str

    def save(self, path: str | Path) -> Path:
        """Write the drawing to a file, which any browser opens; returns the path.

        Raises DataError if that does not end in .svg, or cannot be written.
        """
        target = expect_ending(path, (".svg",), "the file of a drawing")
        write_atomically(target, self.text, DataError)
        return target

    def _repr_svg_(self) -> str:
        return self.text

    def __str__(self) -> str:
        return self.text


def render(root: Node, placed: dict[Node, Placed], labels: dict[Node, Label], title: str) -> Svg:
    """The whole drawing. labels: what each node says and in which colour."""
    # Several drawings may stand in one page: their names must differ.
    page = f"minran{crc32(repr(list(labels.values())).encode()):08x}"
    drawing = _Drawing(placed, labels, page)
    body = drawing.box(root, MARGIN, MARGIN)
    width = placed[root].width + 2 * MARGIN
    height = placed[root].height + 2 * MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FONT}" font-size="12" role="img" '
        f'class="{page}">',
        f"<title>{escape(title)}</title>",
        f"<style>{_style(page)}</style>",
        f'<defs><marker id="{page}tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path class="tip" d="M0,0.5 L8,4 L0,7.5 z" '
        f'fill="{LIGHT.faint}"/></marker></defs>',
        f'<rect class="paper" width="100%" height="100%" fill="{LIGHT.paper}"/>',
        *body,
        "</svg>",
    ]
    return Svg("\n".join(lines) + "\n")


def _style(page: str) -> str:
    """Light mode's colours, for viewers that prefer the style sheet, and dark mode's."""

    def rules(colours: Theme) -> str:
        kinds = {
            "paper": f"fill:{colours.paper}",
            "text": f"fill:{colours.text}",
            "faint": f"fill:{colours.faint}",
            "tip": f"fill:{colours.faint}",
            "edge": f"stroke:{colours.faint}",
            "halo": f"stroke:{colours.paper}",
        }
        return "".join(f".{page} .{kind}{{{rule}}}" for kind, rule in kinds.items())

    dark = f"@media (prefers-color-scheme:dark){{{rules(DARK)}}}"
    return f"{rules(LIGHT)}.{page} .fold{{cursor:pointer}}{dark}"


class _Drawing:
    def __init__(self, placed: dict[Node, Placed], labels: dict[Node, Label], page: str) -> None:
        self.placed, self.labels, self.page = placed, labels, page
        self.count = 0

    def box(self, node: Node, x: float, y: float) -> list[str]:
        """The inside of an open box whose corner is at (x, y): edges first, words above them."""
        place = self.placed[node]
        # Items stand in the middle of their layer.
        top = {
            item: y + (place.top[item.layer] + place.bottom[item.layer] - item.height) / 2
            for item in place.items
        }
        lines = [self.edge(place, segment, top, x, y) for segment in place.segments]
        # One shape for all edges that start at the same tensor.
        first: dict[Node, Segment] = {}
        for segment in place.segments:
            if segment.start.node is not None and not segment.end.port:
                first.setdefault(segment.source, segment)
        lines += [self.shape(segment, top, x) for segment in first.values()]
        for item in place.items:
            if item.node is not None:
                draw = self.frame if item.node.open else self.leaf
                lines += draw(item.node, item, x + item.x - item.width / 2, top[item])
        return lines

    def frame(self, node: Node, item: Item, x: float, y: float) -> list[str]:
        """An open box: its outline, its title, which folds it, and what is inside."""
        label = self.labels[node]
        self.count += 1
        fold, cover = f"{self.page}fold{self.count}", f"{self.page}cover{self.count}"
        rect, colour = _rect(item, x, y, 7), BOX_COLOURS[label.colour]
        title = (
            f'<text class="text halo" x="{x + 9:.1f}" y="{y + 15:.1f}" '
            f'fill="{LIGHT.text}" {HALO}>'
            f'<tspan font-weight="600">{escape(label.first)}</tspan>'
            f'<tspan class="faint" fill="{LIGHT.faint}" dx="6" font-size="11">'
            f"{escape(label.second)}</tspan></text>"
        )
        clicks = f'begin="{fold}.click" end="{cover}.click"'
        return [
            "<g>",
            f'{rect} fill="{colour}" fill-opacity="0.05" stroke="{colour}" stroke-opacity="0.65"/>',
            f'<g><set attributeName="display" to="none" {clicks}/>',
            *self.box(node, x, y),
            "</g>",
            f'<g id="{fold}" class="fold"><title>{escape(label.hint)}</title>{title}</g>',
            f'<g id="{cover}" class="fold" display="none">'
            f'<set attributeName="display" to="inline" {clicks}/>'
            f'{rect} fill="{colour}" fill-opacity="0.2"/>{title}</g>',
            "</g>",
        ]

    def leaf(self, node: Node, item: Item, x: float, y: float) -> list[str]:
        """A closed box with one or two lines of text."""
        label = self.labels[node]
        colour = BOX_COLOURS[label.colour]
        middle = x + item.width / 2
        rect = _rect(item, x, y, 14 if label.colour == "leaf" else 5)
        first = y + (16 if label.second else 18)
        lines = [
            f"<g><title>{escape(label.hint)}</title>",
            f'{rect} fill="{colour}" fill-opacity="0.2" stroke="{colour}"/>',
            f'<text class="text" x="{middle:.1f}" y="{first:.1f}" text-anchor="middle" '
            f'font-weight="600" fill="{LIGHT.text}">{escape(label.first)}</text>',
        ]
        if label.second:
            lines.append(
                f'<text class="faint" x="{middle:.1f}" y="{y + 30:.1f}" text-anchor="middle" '
                f'font-size="11" fill="{LIGHT.faint}">{escape(label.second)}</text>'
            )
        return [*lines, "</g>"]

    def edge(
        self, place: Placed, segment: Segment, top: dict[Item, float], x: float, y: float
    ) -> str:
        """Straight out of the layer, a curve across the gap, straight to the end."""
        start, end = segment.start, segment.end
        x1 = x + start.x + port_offset(start, segment, self.placed)
        x2 = x + end.x + port_offset(end, segment, self.placed)
        leave, arrive = y + place.bottom[start.layer], y + place.top[end.layer]
        if start.port:
            y1 = y
        elif start.node is None:
            y1 = y + place.top[start.layer]  # a waypoint: the line crosses its whole layer
        else:
            y1 = top[start] + start.height
        y2 = y + place.height if end.port else top[end]
        path = f"M{x1:.1f},{y1:.1f} V{leave:.1f} "
        if abs(x1 - x2) > 0.05:
            middle = (leave + arrive) / 2
            path += f"C{x1:.1f},{middle:.1f} {x2:.1f},{middle:.1f} {x2:.1f},{arrive:.1f} "
        ends = end.node is not None and not end.node.open
        tip = f' marker-end="url(#{self.page}tip)"' if ends else ""
        return (
            f'<path class="edge" d="{path}V{y2:.1f}" fill="none" stroke="{LIGHT.faint}" '
            f'stroke-width="1.3"{tip}/>'
        )

    def shape(self, segment: Segment, top: dict[Item, float], x: float) -> str:
        """The shape of the tensor, beside the beginning of its edge."""
        start = segment.start
        at = x + start.x + port_offset(start, segment, self.placed)
        below = top[start] + start.height
        return (
            f'<text class="faint halo" x="{at + 5:.1f}" y="{below + 12:.1f}" font-size="10" '
            f'fill="{LIGHT.faint}" {HALO}>{self.labels[segment.source].shape}</text>'
        )


def _rect(item: Item, x: float, y: float, radius: int) -> str:
    """The beginning of a box: the colours follow."""
    size = f'width="{item.width:.1f}" height="{item.height:.1f}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} rx="{radius}"'
