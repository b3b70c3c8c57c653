from __future__ import annotations

import pytest
import torch

from recon.losses.voxels import occupancy
from recon.metrics.voxels import VoxelScores, average_precision, voxel_counts, voxel_iou


def _logits(probability: torch.Tensor) -> torch.Tensor:
    """(..., D, H, W) probabilities to (..., 2, D, H, W) logits."""
    return torch.stack([torch.zeros_like(probability), probability.logit()], dim=-4)


def test_counts_of_known_voxels() -> None:
    probability = torch.tensor([0.9, 0.4, 0.39, 0.1]).view(1, 1, 4)
    occupied = torch.tensor([1, 0, 1, 0]).view(1, 1, 4)
    assert voxel_counts(probability, occupied, 0.4).tolist() == [2, 1, 3, 1, 1]
    assert float(voxel_iou(probability, occupied, 0.4)) == pytest.approx(1 / 3)


def test_the_threshold_itself_is_occupied() -> None:
    """In single precision, as predictions are."""
    probability = torch.full((1, 1, 1), 0.4)
    assert float(voxel_iou(probability, torch.ones(1, 1, 1), 0.4)) == 1


def test_two_empty_grids_agree() -> None:
    assert float(voxel_iou(torch.zeros(2, 2, 2), torch.zeros(2, 2, 2))) == 1
    assert float(voxel_iou(torch.ones(2, 2, 2), torch.zeros(2, 2, 2))) == 0


@pytest.mark.parametrize("levels", [5, 1000])
def test_average_precision_is_that_of_the_definition(levels: int) -> None:
    """Threshold by threshold; five levels make many equal scores."""
    score, true = torch.randint(levels, (3, 4, 4, 4)) / levels, torch.rand(3, 4, 4, 4) < 0.4
    expected = []
    for p, t in zip(score, true, strict=True):
        area, recall = 0.0, 0.0
        for threshold in p.unique().flip(0):
            called = p >= threshold
            hits = int((called & t).sum())
            area += (hits / int(t.sum()) - recall) * hits / int(called.sum())
            recall = hits / int(t.sum())
        expected.append(area)
    assert average_precision(score, true).tolist() == pytest.approx(expected)


def test_average_precision_of_nothing_is_undefined() -> None:
    assert bool(average_precision(torch.rand(2, 2, 2), torch.zeros(2, 2, 2)).isnan())


def test_means_over_objects_and_over_classes() -> None:
    probability, true = torch.rand(5, 2, 4, 4, 4), torch.rand(5, 4, 4, 4) < 0.3
    labels = ["chair", "chair", "chair", "lamp", "lamp"]
    scores = VoxelScores(views=(1, 3), threshold=0.3, categories=("chair", "lamp"))
    scores.update(_logits(probability[:2]), true[:2], labels[:2])
    scores.update(_logits(probability[2:]), true[2:], labels[2:])
    found = scores.compute()
    for column, views in enumerate((1, 3)):
        iou = voxel_iou(probability[:, column], true, 0.3)
        assert float(found[f"iou_views{views}"]) == pytest.approx(float(iou.mean()))
        assert float(found[f"iou_views{views}/chair"]) == pytest.approx(float(iou[:3].mean()))
        of_classes = (iou[:3].mean() + iou[3:].mean()) / 2
        assert float(found[f"iou_views{views}/class_mean"]) == pytest.approx(float(of_classes))
        precision = average_precision(probability[:, column], true).mean()
        assert float(found[f"ap_views{views}"]) == pytest.approx(float(precision), abs=1e-6)
        loss = torch.nn.functional.binary_cross_entropy(probability[:, column], true.float())
        assert float(found[f"loss_views{views}"]) == pytest.approx(float(loss), rel=1e-5)


def test_the_best_threshold_is_that_of_the_most_views() -> None:
    true = torch.rand(2, 4, 4, 4) < 0.3
    probability = torch.stack([torch.where(true, 0.9, 0.1), torch.where(true, 0.35, 0.25)], dim=1)
    scores = VoxelScores(views=(1, 5), sweep=(0.2, 0.3, 0.5))
    scores.update(_logits(probability), true)
    assert scores.best_threshold() == 0.3
    assert float(scores.compute()["iou_views5@0.3"]) == 1
    assert float(scores.compute()["iou_views5@0.5"]) == 0


def test_probabilities_of_logits() -> None:
    probability = torch.rand(2, 3, 3, 3)
    torch.testing.assert_close(occupancy(_logits(probability)), probability)
