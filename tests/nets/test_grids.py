"""Coordinates, bins and samples on planes and in volumes, against torch's own sampling."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from recon.nets.grids import MARGIN, PLANE_AXES, Kind, Places, bins, table, unit_coordinates

KINDS: list[Kind] = ["triplane", "volume"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_padded_box_fills_the_grid_and_what_is_beyond_is_moved_onto_it(kind: Kind) -> None:
    points = torch.tensor([[-9.0, 0.0, 9.0]])
    u = unit_coordinates(points, kind)
    low, middle, high = 0.0, 0.5, 1 - MARGIN[kind]
    expected = [[low, high], [low, middle], [middle, high]] if kind == "triplane" else [[low, middle, high]]
    torch.testing.assert_close(u[:, 0], torch.tensor(expected))
    assert int(bins(u, 8).max()) < 8 ** u.shape[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_those_of_grid_sample(kind: Kind) -> None:
    points = torch.rand(2, 50, 3) * 1.2 - 0.6
    places, resolution = Places(points, kind), 6
    grids = torch.randn(2 * len(places.u), 5, *[resolution] * places.u.shape[-1])
    ours = places.at(resolution).read(grids).view(2, 50, 5)
    torch.testing.assert_close(ours.flatten(0, 1), places.at(resolution).sample(table(grids)))
    theirs = torch.zeros(2, 50, 5)
    for u, picture in zip(places.u, grids.split(2), strict=True):
        where = (2 * u - 1)[:, :, None] if kind == "triplane" else (2 * u - 1)[:, :, None, None]
        read = F.grid_sample(picture, where, padding_mode="border", align_corners=True)
        theirs += read.flatten(2).transpose(1, 2)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_point_s_mean_is_where_it_is_read(kind: Kind) -> None:
    points = torch.tensor([[[0.1, -0.2, 0.3]]])
    places = Places(points, kind)
    pictures = places.at(16).write(torch.ones(1, 1))
    for u, picture in zip(places.u, pictures, strict=True):
        cell = (u[0, 0] * 16).long().flip(0)  # the first coordinate is the last axis
        assert picture[0][tuple(cell)] == 1
        assert picture.sum() == 1


def test_each_item_of_a_batch_has_grids_of_its_own() -> None:
    points = torch.rand(3, 40, 3) - 0.5
    together, c = Places(points, "triplane"), torch.randn(3, 40, 4)
    pictures = together.at(8).write(c.flatten(0, 1)).view(3, 3, 4, 8, 8)
    for item in range(3):
        alone = Places(points[item : item + 1], "triplane")
        torch.testing.assert_close(pictures[:, item], alone.at(8).write(c[item]))


def test_each_resolution_is_worked_out_once() -> None:
    places = Places(torch.rand(1, 5, 3) - 0.5, "volume")
    assert places.at(8) is places.at(8)
    assert places.at(8).mean is places.at(8).mean
    assert PLANE_AXES[0] == (0, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_reading_and_writing_are_differentiable(kind: Kind) -> None:
    cells = Places(torch.rand(2, 7, 3) - 0.5, kind).at(4)
    grids, c = torch.randn(2 * len(cells.u), 2, *[4] * cells.u.shape[-1]).double(), torch.randn(14, 2).double()
    assert torch.autograd.gradcheck(cells.read, grids.requires_grad_())
    assert torch.autograd.gradcheck(cells.write, c.requires_grad_())
