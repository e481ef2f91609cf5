"""Bar charts as SVG, drawn by the server: no script, no style of their own. A table stands beside each."""

from collections.abc import Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT = 720, 220
LEFT, BOTTOM, TOP = 44, 24, 8  # room for the scale and the labels
TICKS = 4
LABELS = 16  # at most so many labels under the bars


def bars(name: str, labels: Sequence[str], series: Sequence[Sequence[float]], whole: bool = True) -> Markup:
    """Stacked bars: one for each label, one part for each of the series (up to five colours).

    `name` is what a screen reader says; `whole`: the scale shows whole numbers.
    """
    top = _nice(max((sum(parts) for parts in zip(*series, strict=True)), default=0), whole)
    room = WIDTH - LEFT
    step = room / max(1, len(labels))
    high = HEIGHT - BOTTOM - TOP
    every = -(-len(labels) // LABELS)
    drawn = [
        Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
            WIDTH, HEIGHT, name
        )
    ]
    for tick in range(TICKS + 1):
        y = TOP + high - high * tick / TICKS
        drawn.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(LEFT, WIDTH, y, y)
        )
        value = top * tick / TICKS
        drawn.append(
            Markup('<text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
                LEFT - 6, y + 4, f"{value:g}" if not whole or value == int(value) else ""
            )
        )
    for at, label in enumerate(labels):
        x, base = LEFT + at * step, float(TOP + high)
        for number, values in enumerate(series):
            height = high * values[at] / top
            base -= height
            if height > 0:
                drawn.append(
                    Markup('<rect class="b{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
                        number % 5, x + step * 0.12, base, step * 0.76, height
                    )
                )
        if at % every == 0:
            drawn.append(
                Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
                    x + step / 2, HEIGHT - 7, escape(label)
                )
            )
    return Markup().join([*drawn, Markup("</svg>")])


def _nice(value: float, whole: bool) -> float:
    """A round number at or above, for the top of the scale."""
    if value <= 0:
        return TICKS
    unit = 1.0
    while unit * 10 < value:
        unit *= 10
    while unit > value:
        unit /= 10
    found = next(unit * one for one in (1, 2, 4, 5, 8, 10) if unit * one >= value)
    return max(float(TICKS), found) if whole else found
