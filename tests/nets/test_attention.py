"""The attention by hand against autograd, its layouts, and what is prepared."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recon.nets.attention import AttentionDecoder
from recon.nets.grids import Kind, unit_coordinates
from recon.nets.local_attention import Weights, attend, attend_plainly

SIZES: list[tuple[Kind, int]] = [("triplane", 1), ("triplane", 2), ("volume", 4)]


def _decoder(kind: Kind, heads: int, layout: str = "aligned") -> AttentionDecoder:
    decoder = AttentionDecoder(kind, 8, 8, heads, layout=layout)
    for block in decoder.head.blocks:
        torch.nn.init.normal_(block.second.weight, std=0.3)
    return decoder


def _cells(decoder: AttentionDecoder, resolution: int, items: int = 2) -> Tensor:
    return torch.randn(decoder.grids, items * resolution**decoder.dimensions, 8)


@pytest.mark.parametrize(("kind", "heads"), SIZES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_by_hand_is_autograd_s(kind: Kind, heads: int, dtype: torch.dtype) -> None:
    decoder = _decoder(kind, heads).to(dtype)
    queries = torch.rand(2, 400, 3).to(dtype) - 0.5
    index, offsets = decoder._neighbours(_unit(decoder, queries), 5)
    told = decoder.tell(_cells(decoder, 5).to(dtype)).detach().requires_grad_()
    asked = torch.randn(decoder.grids, 800, 8 * heads, dtype=dtype).requires_grad_()
    seen = torch.randn_like(asked)
    found = []
    for function in (attend, attend_plainly):
        weights = decoder._weights()
        answer = function(asked, told, index, offsets, weights)
        leaves = [asked, told, *vars(weights).values()]
        found.append([answer, *torch.autograd.grad(answer, leaves, seen)])
    for ours, theirs in zip(*found, strict=True):
        tolerance = 1e-10 if dtype == torch.float64 else 1e-4
        assert (ours - theirs).norm() <= tolerance * theirs.norm()


def test_mixed_precision_stays_near() -> None:
    decoder = _decoder("triplane", 1)
    cells, queries = _cells(decoder, 5), torch.rand(2, 50, 3) - 0.5
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = decoder(cells, queries, 5)
    mixed.float().sum().backward()
    plain = decoder(cells, queries, 5)
    assert (mixed - plain).abs().max() < 0.05 * plain.abs().max()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in decoder.parameters())


def _unit(decoder: AttentionDecoder, queries: Tensor) -> Tensor:
    return unit_coordinates(queries, decoder.kind, decoder.padding)


@pytest.mark.parametrize(("kind", "heads"), SIZES)
def test_layouts_read_mirrored_cells(kind: Kind, heads: int) -> None:
    decoder = _decoder(kind, heads)
    cells = _cells(decoder, 5, items=1)
    u = torch.rand(decoder.grids, 1, 20, decoder.dimensions)
    aligned, offsets = decoder._neighbours(u, 5)
    decoder.layout = "legacy"
    legacy, same = decoder._neighbours(u, 5)
    assert torch.equal(offsets, same)
    grids = cells.view(decoder.grids, *[5] * decoder.dimensions, 8)
    mirrored = grids.permute(0, *reversed(range(1, decoder.dimensions + 1)), -1).flatten(0, -2)
    assert torch.equal(cells.flatten(0, 1)[legacy], mirrored[aligned])


@pytest.mark.parametrize(("kind", "heads"), SIZES)
def test_neighbours_are_the_nearest_cells_and_offsets_lead_to_the_query(kind: Kind, heads: int) -> None:
    decoder = _decoder(kind, heads)
    u = torch.rand(decoder.grids, 1, 20, decoder.dimensions)
    u[:, 0, 0] = 0.0
    index, offsets = decoder._neighbours(u, 5)
    assert index.shape[-1] == 3**decoder.dimensions
    assert offsets.abs().max() <= 1.5
    local = index - torch.arange(decoder.grids)[:, None, None] * 5**decoder.dimensions
    digits = torch.stack([local // 5**axis % 5 for axis in range(decoder.dimensions)], dim=-1)
    torch.testing.assert_close(digits + offsets, (4 * u[:, 0, :, None]).expand_as(offsets))


@pytest.mark.parametrize(("kind", "heads"), SIZES)
def test_prepared_answers_change_nothing(kind: Kind, heads: int) -> None:
    decoder = _decoder(kind, heads)
    cells, queries = _cells(decoder, 5), torch.rand(2, 50, 3) - 0.5
    plain, prepared = decoder(cells, queries, 5), decoder(cells, queries, 5, decoder.prepare(cells))
    torch.testing.assert_close(prepared, plain, rtol=1e-4, atol=1e-5)


def test_weights_of_one_grid_are_rows_of_the_stacked_ones() -> None:
    weights = _decoder("triplane", 1)._weights()
    assert isinstance(weights.of(1), Weights)
    assert torch.equal(weights.of(1).a1, weights.a1[1])
