"""Neighbourhoods of packed clouds: trees against brute force, small and empty clouds, radii."""

import pytest
import torch

from recon.geometry.near import Trees, nearest_first, spacing
from recon.geometry.packed import counts_of, diagonals, generators_of, kept_counts, spread
from tests.geometry.fields import seeded

COUNTS = [40, 3, 0, 25]


def clouds() -> torch.Tensor:
    return torch.rand(sum(COUNTS), 3, generator=seeded())


@pytest.mark.parametrize("brute", [False, True])
def test_neighbours_are_sought_in_each_cloud_alone(brute: bool) -> None:
    points, start = clouds(), 0
    near = Trees(points, COUNTS, brute=brute).around(6)
    for count in COUNTS:
        rows = slice(start, start + count)
        distance = torch.cdist(points[rows], points[rows], compute_mode="donot_use_mm_for_euclid_dist")
        expected, index = distance.fill_diagonal_(torch.inf).sort(dim=1)
        k = min(6, max(count - 1, 0))
        torch.testing.assert_close(near.square[rows, :k], expected[:, :k].square())
        torch.testing.assert_close(near.index[rows, :k], index[:, :k] + start)
        assert near.valid[rows].sum() == k * count
        assert near.square[rows, k:].isinf().all()
        start += count


def test_trees_and_brute_force_agree_on_queries_of_other_counts() -> None:
    points, queries = clouds(), torch.rand(12, 3, generator=seeded(1))
    tree, full = (Trees(points, COUNTS, brute=brute).query(queries, 5, [5, 4, 1, 2]) for brute in (False, True))
    torch.testing.assert_close(tree.square, full.square)
    assert (tree.index[tree.valid] == full.index[full.valid]).all()
    assert tree.valid.sum(dim=1).tolist() == [5] * 5 + [3] * 4 + [0] + [5] * 2


def test_radius_and_first_neighbours() -> None:
    near = Trees(clouds(), COUNTS).around(8)
    close = near.within(0.3)
    assert (close.square[close.valid] <= 0.09).all()
    assert (near.square[~close.valid] > 0.09).all()
    assert close.first(2).index.shape == (sum(COUNTS), 2)


def test_kept_neighbours_have_new_distances_in_order() -> None:
    points = clouds()
    index = Trees(points, COUNTS).around(4)
    moved = points + 0.05 * torch.randn(points.shape, generator=seeded(2))
    again = nearest_first(moved, moved, torch.where(index.valid, index.index, -1))
    assert (again.square.diff(dim=1).nan_to_num(0) >= 0).all()
    rows = torch.arange(len(points))[:, None].expand_as(again.index)[again.valid]
    torch.testing.assert_close(
        again.square[again.valid], (moved[rows] - moved[again.index[again.valid]]).square().sum(1)
    )


def test_spacing_of_a_lattice() -> None:
    grid = torch.cartesian_prod(*[torch.arange(4.0)] * 3)
    assert (spacing(grid) == 1).all()
    assert spacing(grid[:1]).tolist() == [0.0]


def test_packed_clouds() -> None:
    points = clouds()
    assert counts_of(points, None) == [68]
    with pytest.raises(ValueError, match="do not make 68 rows"):
        counts_of(points, [60, 3])
    assert kept_counts(points[:, 0] >= 0, COUNTS) == COUNTS
    assert spread(torch.tensor([5, 6, 7, 8]), COUNTS)[[0, 40, 43], 0].tolist() == [5, 6, 8]
    assert diagonals(points, COUNTS)[2] == 0
    with pytest.raises(ValueError, match="2 generators cannot serve 3 clouds"):
        generators_of([seeded(), seeded()], 3)
