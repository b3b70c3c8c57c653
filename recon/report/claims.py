"""A claim's result: scores a method and condition, with their spread over trainings, as a table and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recon.io.files import atomic
from recon.report.curves import Curve
from recon.report.tables import Column, Table

Row = dict[str, Any]
SCORES = {
    "iou": ("IoU", "max"),
    "chamfer": ("CD", "min"),
    "normal_consistency": ("NC", "max"),
    "fscore": ("F@1%", "max"),
}
FLAT = 0.005
"""A validation has flattened if the last quarter of a training raised its best value by less."""


@dataclass(frozen=True)
class Claim:
    """What came of testing a claim.

    Attributes:
        title: what is claimed.
        rows: one a method, seed, condition and scene, with the scores of `SCORES` and a status.
        curves: the validations of all trainings, by name.
    """

    title: str
    rows: Sequence[Row]
    curves: Mapping[str, Curve]

    @property
    def is_converged(self) -> bool:
        """Whether every validation has flattened."""
        return all(flattened(curve.values) for curve in self.curves.values())

    @property
    def heading(self) -> str:
        """The title, with the steps of the trainings; it says so if these were too few."""
        steps = max((int(curve.steps[-1]) + 1 for curve in self.curves.values()), default=0)
        return f"{self.title} ({'' if self.is_converged else 'unconverged, '}{steps} steps)"

    def means(self) -> list[Row]:
        """Of each method and condition: means over scenes and seeds, and half the range between seeds (``±``)."""
        found = []
        for method, condition in dict.fromkeys((r["method"], r["condition"]) for r in self.rows):
            own = [r for r in self.rows if (r["method"], r["condition"]) == (method, condition)]
            row: Row = {"method": method, "condition": condition}
            for score in SCORES:
                values = self.by_seed(method, condition, score)
                known = np.isfinite(values).all()
                row |= {score: float(values.mean()), f"{score} ±": float(np.ptp(values)) / 2} if known else {}
            found.append(row | {"items": len(own), "no mesh": sum(r["status"] != "ok" for r in own)})
        return found

    def by_seed(self, method: str, condition: str, score: str) -> np.ndarray:
        """The mean of a score over scenes, one a seed; what is not finite (the distance to no mesh) is left out."""
        own = [r for r in self.rows if (r["method"], r["condition"]) == (method, condition)]
        seeds = dict.fromkeys(r["seed"] for r in own)
        values = [np.array([float(r[score]) for r in own if r["seed"] == seed]) for seed in seeds]
        return np.array([v[np.isfinite(v)].mean() if np.isfinite(v).any() else np.nan for v in values])

    def table(self) -> Table:
        """One row a method and condition."""
        columns = [Column("method"), Column("condition")]
        for score, (name, better) in SCORES.items():
            columns += [Column(score, name, better=better), Column(f"{score} ±", "±")]  # type: ignore[arg-type]
        caption = (
            "CD: Chamfer L1, exact, in percent of the longest side, without items that gave no mesh. "
            "F@1%: at 1 % of that side. ±: half the range between trainings."
        )
        return Table(self.means(), [*columns, Column("items"), Column("no mesh")], self.heading, caption)

    def markdown(self) -> str:
        """The heading, the table, and how every validation ended."""
        ends = [
            f"- {name}: best {max(c.values):.3f} of {len(c.values)} validations, last at step {int(c.steps[-1]) + 1}, "
            + ("flat" if flattened(c.values) else "still rising")
            for name, c in self.curves.items()
        ]
        return "\n".join([self.table().markdown(), "", "Validation (IoU):", "", *ends, ""])

    def draw(self, file: Path) -> None:
        """Each score over the conditions, a line a method, dots for trainings; and the validations."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(17, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(self.heading)
        *axes, last = figure.subplots(1, len(SCORES) + 1)
        methods = list(dict.fromkeys(r["method"] for r in self.rows))
        conditions = list(dict.fromkeys(r["condition"] for r in self.rows))
        for ax, (score, (name, better)) in zip(axes, SCORES.items(), strict=True):
            for number, method in enumerate(methods):
                values = [self.by_seed(method, condition, score) for condition in conditions]
                ax.plot(conditions, [v.mean() for v in values], color=f"C{number}", label=method)
                for place, dots in enumerate(values):
                    ax.plot([place] * len(dots), dots, ".", color=f"C{number}")
            ax.set_title(f"{name} ({'higher' if better == 'max' else 'lower'} is better)", fontsize=10)
        axes[0].legend()
        for name, curve in self.curves.items():
            last.plot(curve.steps, curve.values, color=f"C{methods.index(name.split(',')[0])}")
        last.set_title("validation IoU over steps", fontsize=10)
        with atomic(file) as temporary:
            figure.savefig(temporary, dpi=110)


def flattened(values: Sequence[float]) -> bool:
    """Whether a training that maximises these went on for long enough: its last quarter gained less than `FLAT`."""
    known = [v for v in values if np.isfinite(v)]
    early = known[: len(known) * 3 // 4]
    return bool(early) and max(known) - max(early) < FLAT
