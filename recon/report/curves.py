"""Loss curves as inline SVG: a few lines of our own, whose colours follow the page's light and dark mode."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from recon.report.tables import number

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 14, 12, 34
MAX_POINTS = 500
LOG_RANGE = 20.0  # a curve that falls by more than this is drawn on a logarithmic axis
SMOOTHED_FROM = 150
COLORS = 6  # --line-1 ... --line-6 in report.css


@dataclass(frozen=True)
class Curve:
    """Values over steps.

    Attributes:
        name: what was logged, e.g. ``"train/loss"``.
        steps: (N,) in order.
        values: (N,); what is not finite leaves a gap.
    """

    name: str
    steps: Sequence[float]
    values: Sequence[float]


def grouped(curves: Iterable[Curve]) -> dict[str, list[Curve]]:
    """Curves by the last part of their names, so that train/loss and val/loss share a plot."""
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        groups.setdefault(curve.name.rsplit("/", 1)[-1], []).append(curve)
    return groups


def from_history(history: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> list[Curve]:
    """Curves of logged values, by name.

    Args:
        history: steps and values in the order they were logged. A resumed fit does the steps after its last
            checkpoint once more; the later value of a step is the one that counts.
    """
    curves = []
    for name, (steps, values) in history.items():
        latest = dict(zip(steps, values, strict=True))
        curves.append(Curve(name, sorted(latest), [latest[step] for step in sorted(latest)]))
    return curves


def plot_html(title: str, curves: Sequence[Curve]) -> str:
    """One plot with its legend; noisy curves are drawn thin, with their running mean on top."""
    pieces = [_finite(c) for c in curves]
    drawn = [(c.name, steps, values) for c, (steps, values) in zip(curves, pieces, strict=True) if len(steps)]
    bad = sum(len(c.steps) - len(steps) for c, (steps, _) in zip(curves, pieces, strict=True))
    warning = f'<p class="warning">Left out, as they were not finite: {bad} values.</p>' if bad else ""
    if not drawn:
        return f'<div class="plot"><h3>{escape(title)}</h3><p class="note">Nothing was logged.</p>{warning}</div>'
    axes = _Axes([s for _, s, _ in drawn], [v for _, _, v in drawn])
    keys, lines, series = [], [], []
    for place, (name, steps, values) in enumerate(drawn):
        color = f"var(--line-{place % COLORS + 1})"
        lines.append(_line(axes, steps, values, color))
        keys.append(f'<span><i style="background:{color}"></i>{escape(name)}</span>')
        rows = np.linspace(0, len(steps) - 1, min(len(steps), 200)).astype(int)
        at = [[round(axes.x(steps[r]), 1), f"{steps[r]:g}", number(float(values[r]))] for r in rows]
        series.append({"name": name, "at": at})
    if any(len(values) >= SMOOTHED_FROM for _, _, values in drawn):
        keys.append("<span>thin: as logged, thick: running mean</span>")
    last = ", ".join(f"{name} {number(float(values[-1]))}" for name, _, values in drawn)
    head = f'<div class="plot-head"><h3>{escape(title)}</h3><span class="keys">{"".join(keys)}</span></div>'
    return f"""<div class="plot">{head}
<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)} over steps; at the end {escape(last)}"
data-series="{escape(json.dumps(series))}">{axes.svg()}{"".join(lines)}<line class="cross" y1="{TOP}"
y2="{HEIGHT - BOTTOM}" style="display:none"/></svg><p class="readout">at the end: {escape(last)}</p>{warning}</div>"""


class _Axes:
    """The scales of a plot and their grid."""

    def __init__(self, steps: list[np.ndarray], values: list[np.ndarray]) -> None:
        every_step, every = np.concatenate(steps), np.concatenate(values)
        self.first, self.last = float(every_step.min()), float(every_step.max())
        low, high = float(every.min()), float(every.max())
        self.log = low > 0 and high / low > LOG_RANGE
        if self.log:
            low, high = math.log10(low), math.log10(high)
        margin = 0.04 * (high - low) or abs(high) * 0.1 or 1.0
        self.low, self.high = low - margin, high + margin

    def x(self, step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (step - self.first) / ((self.last - self.first) or 1.0)

    def y(self, value: float) -> float:
        value = math.log10(value) if self.log else value
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.high - value) / (self.high - self.low)

    def svg(self) -> str:
        parts = []
        for value in self._marks():
            y = self.y(value)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_mark(value)}</text>')
        for step in _round_marks(self.first, self.last, 6):
            anchor = f'x="{self.x(step):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle"'
            parts.append(f"<text {anchor}>{_mark(step)}</text>")
        return "".join(parts)

    def _marks(self) -> list[float]:
        if not self.log:
            return _round_marks(self.low, self.high, 5)
        low, high = math.ceil(self.low), math.floor(self.high)
        decades = [10.0**e for e in range(low, high + 1, max(1, (high - low) // 5))]
        if len(decades) > 2:
            return decades
        fine = [m * 10.0**e for e in range(low - 1, high + 1) for m in (1, 2, 5)]
        return [v for v in fine if self.low <= math.log10(v) <= self.high]


def _line(axes: _Axes, steps: np.ndarray, values: np.ndarray, color: str) -> str:
    smooth = _smoothed(values)
    parts = []
    if smooth is not values:
        parts.append(f'<polyline class="raw" points="{_points(axes, steps, values)}" style="stroke:{color}"/>')
    if len(steps) == 1:
        return f'<circle cx="{axes.x(steps[0]):.1f}" cy="{axes.y(values[0]):.1f}" r="3" style="fill:{color}"/>'
    parts.append(f'<polyline class="line" points="{_points(axes, steps, smooth)}" style="stroke:{color}"/>')
    return "".join(parts)


def _points(axes: _Axes, steps: np.ndarray, values: np.ndarray) -> str:
    rows = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), MAX_POINTS)).astype(int))
    return " ".join(f"{axes.x(steps[r]):.1f},{axes.y(values[r]):.1f}" for r in rows)


def _smoothed(values: np.ndarray) -> np.ndarray:
    """A centred running mean over 4 % of a long curve, of logarithms where all are positive; short ones as they are."""
    if len(values) < SMOOTHED_FROM:
        return values
    width = len(values) // 50
    positive = bool((values > 0).all())
    work = np.log(values) if positive else values
    total = np.concatenate([[0.0], np.cumsum(work)])
    rows = np.arange(len(work))
    reach = np.minimum(np.minimum(rows, len(work) - 1 - rows), width)
    mean = (total[rows + reach + 1] - total[rows - reach]) / (2 * reach + 1)
    return np.exp(mean) if positive else mean


def _finite(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    steps, values = np.asarray(curve.steps, dtype=float), np.asarray(curve.values, dtype=float)
    keep = np.isfinite(values) & np.isfinite(steps)
    return steps[keep], values[keep]


def _round_marks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers between two values."""
    span = high - low
    if span <= 0:
        return [low]
    raw = span / count
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= raw)
    return [round(i * step, 12) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _mark(value: float) -> str:
    if value and (abs(value) < 1e-3 or abs(value) >= 1e5):
        mantissa, power = f"{value:.0e}".split("e")
        return f"{mantissa}e{int(power)}"
    return f"{value:g}"
