"""Scores of predicted voxels: counts and IoU at a threshold, and average precision, which needs none.

A voxel counts as occupied where its probability is at least the threshold. The IoU of two empty grids is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from recon.losses.voxels import occupancy, voxel_cross_entropy
from recon.metrics.modules import ItemMeans

COUNTS = ("different", "intersection", "union", "false_positive", "false_negative")


def voxel_counts(probability: Tensor, occupied: Tensor, threshold: float = 0.4) -> Tensor:
    """Counts of every object's voxels.

    Args:
        probability: (..., D, H, W) of being occupied.
        occupied: (..., D, H, W) in {0, 1}, in truth.
        threshold: at or above it a voxel is called occupied.

    Returns:
        (..., 5) int64, in the order of `COUNTS`.
    """
    called, true = torch.broadcast_tensors(probability >= threshold, occupied.bool())
    parts = (called ^ true, called & true, called | true, called & ~true, ~called & true)
    return torch.stack([part.flatten(-3).sum(dim=-1) for part in parts], dim=-1)


def voxel_iou(probability: Tensor, occupied: Tensor, threshold: float = 0.4) -> Tensor:
    """(...,) intersection over union of every object, 1 where both are empty; see `voxel_counts`."""
    _, intersection, union, _, _ = voxel_counts(probability, occupied, threshold).unbind(dim=-1)
    return torch.where(union > 0, intersection.double() / union.clamp(min=1), 1.0)


def average_precision(probability: Tensor, occupied: Tensor) -> Tensor:
    """Area under the curve of precision over recall, of every object: a sum over its steps, equal scores in one.

    Args:
        probability: (..., D, H, W) of being occupied.
        occupied: (..., D, H, W) in {0, 1}, in truth.

    Returns:
        (...,) in [0, 1]; NaN where nothing is occupied.
    """
    score, true = probability.flatten(-3), occupied.broadcast_to(probability.shape).flatten(-3).double()
    score, order = score.sort(dim=-1, descending=True)
    true = true.gather(-1, order)
    hits = true.cumsum(dim=-1)
    ranks = torch.arange(1, score.shape[-1] + 1, device=score.device)
    # Voxels of the same score share the precision after the last of them: it is carried back to the first.
    ends = torch.ones_like(score, dtype=torch.bool)
    ends[..., :-1] = score[..., 1:] != score[..., :-1]
    last = torch.where(ends, ranks - 1, score.shape[-1]).flip(-1).cummin(dim=-1).values.flip(-1)
    precision = (hits / ranks).gather(-1, last)
    return (precision * true).sum(dim=-1) / hits[..., -1]


class VoxelScores(ItemMeans):
    """Means over objects, by number of views, of IoU, loss and average precision; over classes, too, if there are any.

    Their names are ``iou_views3``, ``loss_views3``, ``ap_views3``, and ``iou_views3@0.35`` for further thresholds.

    Args:
        views: numbers of views that are scored.
        threshold: of the IoU.
        sweep: further thresholds, for choosing one on validation data.
        categories: see `ItemMeans`.
    """

    def __init__(
        self,
        views: Sequence[int] = (1, 2, 3, 4, 5),
        threshold: float = 0.4,
        sweep: Sequence[float] = (),
        categories: Sequence[str] = ("all",),
        **kwargs: Any,
    ) -> None:
        names = [f"{name}_views{n}" for n in views for name in ("iou", "loss", "ap")]
        names += [f"iou_views{n}@{t:g}" for n in views for t in sweep]
        super().__init__(names, categories, **kwargs)
        self.views, self.threshold, self.sweep = tuple(views), threshold, tuple(sweep)

    def update(  # type: ignore[override]
        self, logits: Tensor, occupied: Tensor, category: str | Sequence[str] = "all"
    ) -> None:
        """Count a batch of objects.

        Args:
            logits: (B, views, 2, D, H, W) after each of the numbers of views.
            occupied: (B, D, H, W) in truth.
            category: of all objects, or one each.
        """
        labels = [category] * len(logits) if isinstance(category, str) else category
        for one, true, label in zip(logits, occupied, labels, strict=True):
            super().update(self.row(one, true), label)

    def best_threshold(self) -> float:
        """The threshold of `sweep` with the highest mean IoU at the largest number of views."""
        means = self.compute()
        return max(self.sweep, key=lambda t: float(means[f"iou_views{max(self.views)}@{t:g}"]))

    def row(self, logits: Tensor, true: Tensor) -> dict[str, float]:
        """Scores of one object: (views, 2, D, H, W) logits against (D, H, W) in truth."""
        probability = occupancy(logits.float())
        columns = {"iou": voxel_iou(probability, true, self.threshold), "ap": average_precision(probability, true)}
        columns["loss"] = torch.stack([voxel_cross_entropy(one[None].float(), true[None]) for one in logits])
        row: dict[str, float] = {}
        for name, column in columns.items():
            row |= {f"{name}_views{n}": float(value) for n, value in zip(self.views, column, strict=True)}
        for t in self.sweep:
            column = voxel_iou(probability, true, t)
            row |= {f"iou_views{n}@{t:g}": float(value) for n, value in zip(self.views, column, strict=True)}
        return row
