"""What came of a claim about views: IoU over their number, by memory and by averages, with the spread of trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recon.io.files import atomic
from recon.report.claims import flattened
from recon.report.curves import Curve
from recon.report.tables import Column, Table

Row = dict[str, Any]
ENOUGH = 8
"""Validations from which one can tell whether a training has flattened."""


@dataclass(frozen=True)
class GrowthClaim:
    """Scores of objects by number of views.

    Attributes:
        title: what is claimed.
        rows: one a seed, object and number of ``views``, with ``recurrent``, ``averaged``, ``order_spread`` and
            ``order_agreement``.
        curves: the validations of all trainings, by name.
    """

    title: str
    rows: Sequence[Row]
    curves: Mapping[str, Curve]

    @property
    def heading(self) -> str:
        """The title, with the steps of the trainings; it says so if these were too few."""
        steps = max((int(curve.steps[-1]) + 1 for curve in self.curves.values()), default=0)
        curves = self.curves.values()
        flat = bool(curves) and all(len(c.values) >= ENOUGH and flattened(c.values) for c in curves)
        return f"{self.title} ({'' if flat else 'unconverged, '}{steps} steps)"

    @property
    def numbers(self) -> list[int]:
        """The numbers of views."""
        return sorted({row["views"] for row in self.rows})

    def by_seed(self, score: str, views: int) -> np.ndarray:
        """The mean of a score over objects, one a seed."""
        own = [row for row in self.rows if row["views"] == views]
        seeds = dict.fromkeys(row["seed"] for row in own)
        return np.array([np.mean([row[score] for row in own if row["seed"] == seed]) for seed in seeds])

    def means(self) -> list[Row]:
        """One row a number of views: means over objects and seeds, and half the range between seeds (``±``)."""
        found = []
        for views in self.numbers:
            row: Row = {"views": views}
            gain = self.by_seed("recurrent", views) - self.by_seed("averaged", views)
            for name in ("recurrent", "averaged", "order_spread", "order_agreement"):
                row[name] = float(self.by_seed(name, views).mean())
            row["recurrent ±"] = float(np.ptp(self.by_seed("recurrent", views))) / 2
            row |= {"gain": float(gain.mean()), "gain ±": float(np.ptp(gain)) / 2}
            found.append(row)
        return found

    def table(self) -> Table:
        """`means` as a table."""
        columns = [
            Column("views"),
            Column("recurrent", "IoU"),
            Column("recurrent ±", "±"),
            Column("averaged", "IoU, views averaged"),
            Column("gain", "gain of memory"),
            Column("gain ±", "±"),
            Column("order_spread", "spread over orders"),
            Column("order_agreement", "IoU between orders"),
        ]
        caption = (
            "IoU of voxels, means over objects and trainings; ±: half the range between trainings. Averaged: the mean "
            "of what the same network makes of each view alone. Spread over orders: standard deviation of an object's "
            "IoU when its views are shuffled; IoU between orders: of two such answers with each other."
        )
        return Table(self.means(), columns, self.heading, caption)

    def markdown(self) -> str:
        """The table, what it says of each part of the claim, and how every validation ended."""
        ends = [
            f"- {name}: best {max(c.values):.3f} of {len(c.values)} validations, last at step {int(c.steps[-1]) + 1}, "
            + ("flat" if flattened(c.values) else "still rising")
            for name, c in self.curves.items()
        ]
        return "\n".join([self.table().markdown(), "", *self.verdicts(), "", "Validation (IoU):", "", *ends, ""])

    def verdicts(self) -> list[str]:
        """A sentence on each part of the claim, from the figures alone."""
        first, last = self.numbers[0], self.numbers[-1]
        rise = self.by_seed("recurrent", last) - self.by_seed("recurrent", first)
        gain = self.by_seed("recurrent", last) - self.by_seed("averaged", last)
        spread = float(self.by_seed("order_spread", last).mean())
        say = lambda x: "in every training" if (x > 0).all() else "in no training" if (x <= 0).all() else "not always"  # noqa: E731
        return [
            f"- From {first} to {last} views the IoU rises {say(rise)}: by {rise.mean():.3f}.",
            f"- With {last} views, memory beats averaging {say(gain)}: by {gain.mean():.3f}.",
            f"- Their order moves an object's IoU by {spread:.3f} (standard deviation), "
            f"{'less' if spread < abs(rise.mean()) else 'no less'} than what the further views bring.",
        ]

    def draw(self, file: Path) -> None:
        """IoU over the number of views, a dot a training; and the validations."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 3.8), layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(self.heading)
        left, right = figure.subplots(1, 2)
        for place, (score, name) in enumerate((("recurrent", "recurrent"), ("averaged", "views averaged"))):
            values = [self.by_seed(score, views) for views in self.numbers]
            left.plot(self.numbers, [v.mean() for v in values], color=f"C{place}", label=name)
            for views, dots in zip(self.numbers, values, strict=True):
                left.plot([views] * len(dots), dots, ".", color=f"C{place}")
        left.set_xlabel("views")
        left.set_title("IoU (higher is better)", fontsize=10)
        left.legend()
        for name, curve in self.curves.items():
            right.plot(curve.steps, curve.values, label=name)
        right.set_title("validation IoU over steps", fontsize=10)
        with atomic(file) as temporary:
            figure.savefig(temporary, dpi=110)
