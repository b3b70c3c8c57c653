"""The alternating U-Nets' parts: products in place of small convolutions, and the exchange of grids and points."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recon.nets.alternating import Exchange
from recon.nets.convolutions import add, join, pointwise, risen
from recon.nets.grids import Places, table


def _picture(channels: int, side: int) -> Tensor:
    return torch.randn(2, channels, side, side).contiguous(memory_format=torch.channels_last)


def test_maps_of_single_cells_are_the_convolutions() -> None:
    x, skip = _picture(6, 4), _picture(5, 8)
    flat, rise = nn.Conv2d(6, 5, 1), nn.ConvTranspose2d(6, 5, 2, stride=2)
    torch.testing.assert_close(pointwise(x, flat), flat(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(join(risen(x, rise), skip), torch.cat([rise(x), skip], dim=1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(add(skip, risen(x, rise)), skip + rise(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(join(risen(x, flat), x), torch.cat([flat(x), x], dim=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("points", [5, 500])
def test_the_exchange_is_the_same_whether_cells_or_points_are_fewer(points: int) -> None:
    places = Places(torch.rand(1, points, 3) - 0.5, "triplane")
    exchange, grids, c = Exchange(6, 4), torch.randn(3, 6, 8, 8), torch.randn(points, 4)
    cells = places.at(8)
    assert (cells.count < points) == (points == 500)
    sparse, after = exchange(grids, c, places)
    read = cells.sample(table(grids))
    expected = exchange.out(F.relu(exchange.hidden(read))) + exchange.carry(c)
    torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(table(sparse), cells.mean(expected), rtol=1e-4, atol=1e-5)
