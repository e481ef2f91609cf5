"""Line charts as SVG, by hand: one scale each way, a few lines, a key."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 420, 70, 210, 40, 50


@dataclass(frozen=True)
class Line:
    """Points (x, y) with a name; `dashed` for the less important of two."""

    name: str
    colour: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


def svg(
    title: str, across: str, up: str, lines: Sequence[Line], mark: tuple[float, str] | None = None
) -> str:
    """Both scales logarithmic; `mark` is a height with its name, drawn across."""
    xs = [x for line in lines for x, _ in line.points] or [1.0]
    ys = [y for line in lines for _, y in line.points] + ([mark[0]] if mark else []) or [1.0]
    x_of = _scale(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    low, high = 10 ** math.floor(math.log10(min(ys))), 10 ** math.ceil(math.log10(max(ys)))
    y_of = _scale(low, max(high, low * 10), HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(LEFT, 22, f"{title}, {up}", "start", bold=True),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, across),
    ]
    for y in _steps(low, max(high, low * 10)):
        parts.append(_rule(LEFT, y_of(y), WIDTH - RIGHT, y_of(y), "#e4e4e4"))
        parts.append(_text(LEFT - 6, y_of(y) + 4, f"{y:g}", "end"))
    for x in sorted(set(xs)):
        parts.append(_text(x_of(x), HEIGHT - BOTTOM + 18, _short(x)))
    if mark:
        parts.append(_rule(LEFT, y_of(mark[0]), WIDTH - RIGHT, y_of(mark[0]), "#c03030", "6 4"))
        parts.append(_text(LEFT + 6, y_of(mark[0]) - 5, mark[1], "start"))
    for number, line in enumerate(lines):
        places = [(x_of(x), y_of(y)) for x, y in line.points]
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="2"{dash}/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{line.colour}"/>' for x, y in places]
        y = TOP + 60 + 20 * number
        parts.append(
            f'<line x1="{WIDTH - RIGHT + 14}" y1="{y}" x2="{WIDTH - RIGHT + 38}" y2="{y}" '
            f'stroke="{line.colour}" stroke-width="2"{dash}/>'
        )
        parts.append(_text(WIDTH - RIGHT + 44, y + 4, line.name, "start"))
    return "\n".join([*parts, "</svg>\n"])


def _scale(low: float, high: float, first: float, last: float):  # type: ignore[no-untyped-def]
    span = math.log(high / low) or 1.0
    return lambda value: first + (last - first) * math.log(value / low) / span


def _steps(low: float, high: float) -> list[float]:
    decades = round(math.log10(high / low))
    return [low * 10**n * part for n in range(decades) for part in (1, 2, 5)] + [high]


def _short(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _text(x: float, y: float, text: str, anchor: str = "middle", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float, colour: str, dash: str = "") -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dashes}/>'
