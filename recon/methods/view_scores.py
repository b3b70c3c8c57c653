"""Scores of validation objects after each of their views, from all processes, over objects and over classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recon.metrics.modules import ItemMeans
from recon.metrics.voxels import VoxelScores

Row = tuple[str, dict[str, float]]


class ViewScores:
    """IoU, loss and average precision of objects by number of views, and a sweep of thresholds.

    Args:
        sweep: thresholds to try.
    """

    def __init__(self, sweep: Sequence[float]) -> None:
        self.sweep, self.views = tuple(sweep), 0
        self.rows: list[Row] = []

    def add(self, category: str, logits: Tensor, true: Tensor, threshold: float) -> None:
        """Count an object: (V, 2, n, n, n) logits after each view against (n, n, n) in truth."""
        self.views = len(logits)
        scores = VoxelScores(range(1, self.views + 1), threshold, self.sweep)
        self.rows.append((category or "all", scores.row(logits, true)))

    def means(self) -> tuple[dict[str, float], float | None]:
        """Means by name, and the threshold of the best mean IoU at all views (None where none was tried).

        ``iou``, ``loss`` and ``ap`` are those at all views, ``iou_views2`` and so on at fewer, all of them means over
        objects; ``iou/<class>`` is the mean of a class, and ``iou/class_mean`` that of the classes' means.
        """
        rows = _everyones(self.rows)
        names = list(rows[0][1])
        items = ItemMeans(names, sorted({category for category, _ in rows}))
        for category, row in rows:
            items.update(row, category)
        found = {name: float(value) for name, value in items.compute().items()}
        told = {name: found[name] for name in names if "@" not in name}
        for name in ("iou", "loss", "ap"):
            last = f"{name}_views{self.views}"
            told[name] = found[last]
            told |= {
                name + k.removeprefix(last): v for k, v in found.items() if k.startswith(f"{last}/") and name == "iou"
            }
        swept = {t: found[f"iou_views{self.views}@{t:g}"] for t in self.sweep}
        return told, max(swept, key=lambda t: swept[t]) if swept else None


def _everyones(rows: list[Row]) -> list[Row]:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return rows
    gathered: list[list[Row]] = [[] for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(gathered, rows)
    return [row for own in gathered for row in own]
