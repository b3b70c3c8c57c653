"""The losses of rendered surfaces against their formulas, and at their edges."""

from __future__ import annotations

import math

import pytest
import torch

from recon.losses.rendering import IDRObjective, MultiViewObjective, colour_l1, silhouette


def _entropy(f: float, inside: bool, alpha: float) -> float:
    share = 1 / (1 + math.exp(alpha * f))
    return -math.log(share if inside else 1 - share)


def test_colours_count_all_rays() -> None:
    colours, truth = torch.tensor([[0.5, 0.0, -1.0]]), torch.tensor([[0.0, 0.0, 1.0]])
    assert colour_l1(colours, truth, 10).item() == pytest.approx(0.25)
    assert colour_l1(colours[:0], truth[:0], 10).item() == 0.0


def test_silhouettes_are_cross_entropies_over_the_sharpness() -> None:
    value, inside = torch.tensor([0.1, -0.05, 0.3]), torch.tensor([True, False, False])
    expected = sum(_entropy(f, m, 20.0) for f, m in zip(value.tolist(), inside.tolist(), strict=True)) / (20 * 8)
    assert silhouette(value, inside, 20.0, 8).item() == pytest.approx(expected, rel=1e-5)


def test_idr_without_hits_or_misses_is_finite() -> None:
    none = torch.zeros(0, 3)
    gradient = torch.tensor([[2.0, 0.0, 0.0]])
    only_misses = IDRObjective()(none, none, torch.tensor([0.2]), torch.tensor([True]), gradient, 50.0, 1)
    assert only_misses["rgb"].item() == 0.0
    assert only_misses["loss"].item() == pytest.approx(0.1 * 1.0 + 100 * _entropy(0.2, True, 50) / 50, rel=1e-5)
    ones = torch.ones(2, 3)
    only_hits = IDRObjective(eikonal=0)(ones, 0 * ones, none[:, 0], none[:, 0].bool(), none, 50.0, 2)
    assert only_hits["loss"].item() == pytest.approx(3.0)


def test_isopoints_losses_are_balanced_and_not_divided_by_the_sharpness() -> None:
    colours, truth = torch.full((4, 3), 0.5), torch.zeros(4, 3)
    free, occupied = torch.tensor([0.1, -0.2]), torch.tensor([0.05])
    gradient = torch.tensor([[0.0, 0.0, 2.0]])
    terms = MultiViewObjective(rgb=2.0, occupied=3.0)(colours, truth, free, occupied, gradient, 5.0, 16)
    assert terms["rgb"].item() == pytest.approx(6 / 16 * 3 / 4)
    assert terms["freespace"].item() == pytest.approx(sum(_entropy(f, False, 5) for f in (0.1, -0.2)) / 16, rel=1e-5)
    assert terms["occupied"].item() == pytest.approx(_entropy(0.05, True, 5) / 16 * 2 / 5, rel=1e-5)
    assert terms["eikonal"].item() == pytest.approx(1 / 16)
    expected = 2 * terms["rgb"] + terms["freespace"] + 3 * terms["occupied"] + 0.01 * terms["eikonal"]
    torch.testing.assert_close(terms["loss"], expected)


def test_isopoints_losses_without_samples_are_finite() -> None:
    none = torch.zeros(0, 3)
    terms = MultiViewObjective()(none, none, none[:, 0], none[:, 0], none, 5.0, 16)
    assert terms["loss"].item() == 0.0
