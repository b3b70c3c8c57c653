"""torchmetrics classes: means over items, synchronised over processes.

Their states are sums and counts a category, never clouds. What happens to items without a surface is the same
everywhere: an empty or missing prediction counts 0 in every score where more is better (its row says so) and has
infinite distances; a mean of distances is taken over the finite ones, or is infinite with ``strict=True``. Either
way `compute` gives ``n_items``, ``n_empty`` and ``n_missing`` beside the means, and ``n_of/<name>`` for every mean
that does not cover all items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from recon.errors import ConfigError, did_you_mean
from recon.metrics import functional as F
from recon.metrics.protocols import Geometry, evaluate, status
from recon.metrics.volume import occupancy_iou


class ItemMeans(Metric):
    """Means of rows of numbers, one row an item.

    Args:
        names: the numbers to average; a row may hold more, and lacks (or has NaN for) what is undefined.
        categories: known in advance, so that all processes hold states of the same shape; with more than one,
            means a category and their unweighted mean are given too.
        strict: whether infinite values make a mean infinite, instead of being left out of it.
    """

    is_differentiable = False
    full_state_update = False
    sums: Tensor
    counts: Tensor
    infinite: Tensor
    n_items: Tensor
    n_empty: Tensor
    n_missing: Tensor

    def __init__(
        self, names: Sequence[str], categories: Sequence[str] = ("all",), strict: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.names, self.categories, self.strict = tuple(names), tuple(categories), strict
        shape = (len(self.categories), len(self.names))
        self.add_state("sums", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        for state in ("counts", "infinite"):
            self.add_state(state, torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        for state in ("n_items", "n_empty", "n_missing"):
            self.add_state(state, torch.zeros(shape[0], dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, row: Mapping[str, float], category: str = "all", status: str = "ok") -> None:
        """Count one item.

        Args:
            row: its numbers by name.
            category: one of `categories`.
            status: ``"ok"``, ``"empty"`` or ``"missing"``.

        Raises:
            ConfigError: if the category is unknown.
        """
        if category not in self.categories:
            raise ConfigError(f"There is no category '{category}'.", did_you_mean(category, self.categories))
        at = self.categories.index(category)
        values = torch.tensor([row.get(name, float("nan")) for name in self.names], dtype=torch.float64)
        values = values.to(self.sums.device)
        finite = values.isfinite()
        self.sums[at] += torch.where(finite, values, 0)
        self.counts[at] += finite
        self.infinite[at] += values.isinf()
        self.n_items[at] += 1
        self.n_empty[at] += status == "empty"
        self.n_missing[at] += status == "missing"

    def compute(self) -> dict[str, Tensor]:
        """The means, then the counts; ``<name>/<category>`` and ``<name>/class_mean`` with several categories."""
        means = self._means(self.sums.sum(0), self.counts.sum(0), self.infinite.sum(0))
        result = dict(zip(self.names, means, strict=True))
        total = self.n_items.sum()
        for i, name in enumerate(self.names):
            if self.counts[:, i].sum() < total:
                result[f"n_of/{name}"] = self.counts[:, i].sum()
        if len(self.categories) > 1:
            table = self._means(self.sums, self.counts, self.infinite)
            for i, name in enumerate(self.names):
                result |= {f"{name}/{category}": table[c, i] for c, category in enumerate(self.categories)}
                result[f"{name}/class_mean"] = table[:, i][~table[:, i].isnan()].mean()
        return result | {"n_items": total, "n_empty": self.n_empty.sum(), "n_missing": self.n_missing.sum()}

    def _means(self, sums: Tensor, counts: Tensor, infinite: Tensor) -> Tensor:
        means = torch.where(counts > 0, sums / counts.clamp(min=1), torch.nan)
        # Where nothing but infinities came in there is no finite mean to give.
        hopeless = (infinite > 0) if self.strict else (infinite > 0) & (counts == 0)
        return torch.where(hopeless, torch.inf, means)


class SurfaceScores(ItemMeans):
    """Means over items of an evaluation protocol (see `recon.metrics.protocols`).

    Args:
        names: numbers of the protocol to average.
        protocol: its name.
        seed: of the points drawn.
        categories: see `ItemMeans`.
        strict: see `ItemMeans`.
    """

    def __init__(
        self,
        names: Sequence[str] = ("chamfer_l1_exact", "fscore_1pct_exact", "normal_consistency_exact", "iou"),
        protocol: str = "recon",
        seed: int = 0,
        categories: Sequence[str] = ("all",),
        strict: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(names, categories, strict, **kwargs)
        self.protocol, self.seed = protocol, seed

    def update(self, prediction: Geometry | None, truth: Geometry, category: str = "all") -> None:  # type: ignore[override]
        """Evaluate and count one item; None is a missing prediction."""
        row = evaluate(prediction, truth, self.protocol, self.seed)
        super().update(row, category, status(prediction))


class CloudScores(ItemMeans):
    """Means over items of Chamfer, Hausdorff, F-score and normal consistency between clouds (one tree a cloud).

    Args:
        thresholds: of the F-scores, in the input's unit; their names are ``fscore@<threshold>``.
        categories: see `ItemMeans`.
        strict: see `ItemMeans`.
    """

    def __init__(
        self,
        thresholds: Sequence[float] = (0.01,),
        categories: Sequence[str] = ("all",),
        strict: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__((*F.SCORES, *(f"fscore@{t:g}" for t in thresholds)), categories, strict, **kwargs)
        self.thresholds = tuple(thresholds)

    def update(  # type: ignore[override]
        self,
        prediction: Tensor | None,
        truth: Tensor,
        prediction_normals: Tensor | None = None,
        truth_normals: Tensor | None = None,
        category: str = "all",
    ) -> None:
        """Count one item: (P, 3) and (T, 3) points with or without (P, 3) and (T, 3) normals; None is missing."""
        missing = prediction is None
        points = truth.new_zeros(0, 3) if prediction is None else prediction
        d = F.cloud_distances(points, truth, prediction_normals, truth_normals)
        row = F.scores(d) | {f"fscore@{t:g}": F.fscore(d, t) for t in self.thresholds}
        super().update(row, category, "missing" if missing else "ok" if len(points) else "empty")


class OccupancyIoU(ItemMeans):
    """Mean over items of the IoU of occupancies at given points or voxels.

    Args:
        threshold: predictions at or above it are inside.
        categories: see `ItemMeans`.
    """

    def __init__(self, threshold: float = 0.5, categories: Sequence[str] = ("all",), **kwargs: Any) -> None:
        super().__init__(("iou",), categories, **kwargs)
        self.threshold = threshold

    def update(  # type: ignore[override]
        self, prediction: Tensor, truth: Tensor, category: str | Sequence[str] = "all"
    ) -> None:
        """Count a batch: (B, ...) predicted values and (B, ...) true occupancies, whose first axis counts items."""
        labels = [category] * len(prediction) if isinstance(category, str) else category
        inside = prediction >= self.threshold
        for one, true, label in zip(inside, truth, labels, strict=True):
            super().update({"iou": occupancy_iou(one, true)}, label, "ok" if bool(one.any()) else "empty")
