"""The colours of figures and drawings, on light and on dark paper."""

from dataclasses import dataclass

# Okabe and Ito's colours: told apart by colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8c6bb1")
BLUE, RED, GREEN, PINK, ORANGE, SKY, _ = COLOURS
GREY = "#7a7f87"


@dataclass(frozen=True)
class Theme:
    """Colours of paper, text and lines, and those for curves."""

    paper: str
    text: str
    faint: str
    grid: str
    colours: tuple[str, ...]


LIGHT = Theme("#ffffff", "#1f2328", "#59636e", "#d9dee3", COLOURS)
DARK = Theme(
    "#0d1117",
    "#e6edf3",
    "#9aa4af",
    "#2d343c",
    ("#56B4E9", "#E69F00", "#2fc79a", "#e39ac4", "#ff7f3b", "#f0e442", "#b59be0"),
)


def theme(dark: bool = False) -> Theme:
    """The light or the dark theme."""
    return DARK if dark else LIGHT
