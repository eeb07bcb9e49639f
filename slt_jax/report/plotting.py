"""Figure style and the plots that experiments share; the only room that imports matplotlib."""

import contextlib
import io
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes as Axes
from matplotlib.figure import Figure as Figure
from matplotlib.ticker import NullFormatter as NullFormatter
from matplotlib.ticker import NullLocator as NullLocator

from slt_jax.run.store import replace_file

# Okabe–Ito colours, told apart by the colour-blind; markers and dashes tell them apart in grey.
BLACK, BLUE, ORANGE, GREEN, RED, GREY, PURPLE, SKY = (
    "#000000", "#0072B2", "#E69F00", "#009E73", "#D55E00", "#777777", "#CC79A7", "#56B4E9",
)  # fmt: skip
COLOURS = (BLACK, BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GREY)
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "slt_jax",
    "pdf.fonttype": 42,
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,
}


@contextlib.contextmanager
def page(size: tuple[float, float]) -> Iterator[Figure]:
    """An empty figure of ``size`` inches, which is laid out when the block ends."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        yield figure
        _fix_layout(figure)


@contextlib.contextmanager
def panels(rows: int, columns: int, size: tuple[float, float]) -> Iterator[tuple[Figure, Any]]:
    """A figure of ``size`` inches and its axes [rows, columns], laid out when the block ends."""
    with page(size) as figure:
        yield figure, figure.subplots(rows, columns, squeeze=False)


def letter(axes: Any) -> None:
    """Put (a), (b), … before the titles of axes, row by row."""
    for label, axis in zip(string.ascii_lowercase, axes.ravel(), strict=False):
        axis.set_title(f"({label}) {axis.get_title()}")


def _fix_layout(figure: Figure) -> None:
    """Lay out once: a second layout at the next save would move everything a little.

    "none" would leave a placeholder, and each save would draw twice for it.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine(None)


def save_figure(figure: Figure, stem: str, *folders: Path) -> None:
    """Write the figure as PNG, SVG and PDF into each of ``folders``, each whole or not at all."""
    with matplotlib.rc_context(STYLE):
        for kind, metadata in (
            ("png", {}),
            ("svg", {"Date": None}),
            ("pdf", {"CreationDate": None}),
        ):
            drawn = io.BytesIO()
            figure.savefig(drawn, format=kind, dpi=200, metadata=metadata)
            for folder in folders:
                with replace_file(folder / f"{stem}.{kind}") as temporary:
                    temporary.write_bytes(drawn.getvalue())
