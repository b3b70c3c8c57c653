"""Attention over the cells about each query, with a hand-written backward pass that works in pieces.

At 9 or 27 neighbours a query and four times the channels inside, what autograd keeps is hundreds of megabytes, and
time is spent moving it. Here a piece of queries goes all the way while it is in the cache; the backward pass works it
out once more rather than reading it back. For one grid, with k and v a cell's key and value, q the query, d the offset:

    e = D2 relu(D1 d + b1) + b2,   s = A2 relu(A1 (q - k + e) + a1),   w = softmax over neighbours of s
    answer = sum over neighbours of w (v + e),   channel by channel

A bias on s would cancel in the softmax.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

ROWS = {torch.float32: 2304, torch.bfloat16: 9216}
"""Neighbours in a piece: at 128 channels 1.2 MB, which a core's cache holds; small products in bfloat16 cost more."""


@dataclass(frozen=True)
class Weights:
    """The weights for one grid, or the stacked ones of all grids with a leading axis; biases are rows (1, channels)."""

    d1: Tensor
    b1: Tensor
    d2: Tensor
    b2: Tensor
    a1: Tensor
    c1: Tensor
    a2: Tensor

    def of(self, grid: int) -> Weights:
        """Those of one grid."""
        return Weights(*(part[grid] for part in vars(self).values()))


@dataclass(frozen=True)
class _Piece:
    """What the forward pass of a piece of M queries with K neighbours works out; rows are (M K, channels)."""

    lifted: Tensor
    mixed: Tensor
    hidden: Tensor
    told: Tensor
    shares: Tensor
    answer: Tensor


def attend(query: Tensor, rows: Tensor, index: Tensor, offsets: Tensor, weights: Weights) -> Tensor:
    """Answers of all grids.

    Args:
        query: (G, M, H).
        rows: (cells, 2 H) keys and values.
        index: (G, M, K) the row of each neighbour.
        offsets: (G, M, K, D) from the neighbour to the query, in cells.
        weights: stacked; A1 and A2 work on H / heads channels.

    Returns:
        (G, M, H).
    """
    # Under autocast everything is cast once, here, and not again for each piece.
    device = query.device.type
    mixed = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if mixed else query.dtype
    query, rows, offsets, *parts = (part.to(dtype) for part in (query, rows, offsets, *vars(weights).values()))
    with torch.autocast(device, enabled=False):
        return _Attend.apply(query, rows, index, offsets, *parts)


def attend_plainly(query: Tensor, rows: Tensor, index: Tensor, offsets: Tensor, weights: Weights) -> Tensor:
    """The same by operations that autograd knows, for GPUs, mixed precision and compilers."""
    answers = []
    for grid in range(len(query)):
        near = F.embedding(index[grid], rows)
        piece = _forward(query[grid], near.flatten(0, 1), offsets[grid], weights.of(grid))
        answers.append(piece.answer)
    return torch.stack(answers)


def _forward(query: Tensor, near: Tensor, offsets: Tensor, w: Weights) -> _Piece:
    """One piece of one grid; `near` (M K, 2 H) are the neighbours' keys and values."""
    count, neighbours, _ = offsets.shape
    keys, values = near.chunk(2, dim=1)
    lifted = F.relu(F.linear(offsets.flatten(0, 1), w.d1, w.b1[0]))
    place = F.linear(lifted, w.d2, w.b2[0])
    mixed = (place - keys).view(count, neighbours, -1) + query[:, None]
    mixed = mixed.view(-1, w.a1.shape[1])
    hidden = F.relu(F.linear(mixed, w.a1, w.c1[0]))
    shares = F.linear(hidden, w.a2).view(count, neighbours, -1).softmax(dim=1)
    told = (values + place).view(count, neighbours, -1)
    return _Piece(lifted, mixed, hidden, told, shares, (shares * told).sum(dim=1))


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, rows: Tensor, index: Tensor, offsets: Tensor, *weights: Tensor) -> Tensor:
        ctx.save_for_backward(query, rows, index, offsets, *weights)
        answer = torch.empty_like(query)
        stacked = Weights(*weights)
        for grid, part in _pieces(index, query.dtype):
            near = rows.index_select(0, index[grid, part].flatten())
            answer[grid, part] = _forward(query[grid, part], near, offsets[grid, part], stacked.of(grid)).answer
        return answer

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, rows, index, offsets, *weights = ctx.saved_tensors
        exact = torch.promote_types(query.dtype, torch.float32)
        by_query, by_rows = torch.empty_like(query), torch.zeros_like(rows, dtype=exact)
        stacked, sums = Weights(*weights), Weights(*(torch.zeros_like(w, dtype=exact) for w in weights))
        for grid, part in _pieces(index, query.dtype):
            near = index[grid, part].flatten()
            piece_query, piece_offsets, w = query[grid, part], offsets[grid, part], stacked.of(grid)
            piece = _forward(piece_query, rows.index_select(0, near), piece_offsets, w)
            by_near = _backward(grad[grid, part], piece, piece_offsets, w, sums.of(grid), by_query[grid, part])
            by_rows.index_add_(0, near, by_near.to(exact))
        parts = [part.to(query.dtype) for part in vars(sums).values()]
        return by_query, by_rows.to(rows.dtype), None, None, *parts


def _backward(grad: Tensor, piece: _Piece, offsets: Tensor, w: Weights, sums: Weights, by_query: Tensor) -> Tensor:
    """Add a piece's derivatives by the weights to `sums`, write those by the query; return those by `near`."""
    by_told = piece.shares * grad[:, None]
    # Of the softmax: s_n' = w_n (g_n - sum w g) with g = grad (v + e), and sum w (v + e) is the answer.
    by_scores = (piece.told - piece.answer[:, None]).mul_(by_told).view(-1, w.a2.shape[0])
    sums.a2.add_(by_scores.t() @ piece.hidden)
    by_hidden = torch.ops.aten.threshold_backward(by_scores @ w.a2, piece.hidden, 0)
    sums.a1.add_(by_hidden.t() @ piece.mixed)
    sums.c1.add_(by_hidden.sum(dim=0))
    by_mixed = (by_hidden @ w.a1).view(by_told.shape)
    torch.sum(by_mixed, dim=1, out=by_query)
    by_near = torch.cat([by_mixed.neg(), by_told], dim=2).flatten(0, 1)
    by_place = by_mixed.add_(by_told).flatten(0, 1)
    sums.d2.add_(by_place.t() @ piece.lifted)
    sums.b2.add_(by_place.sum(dim=0))
    by_lifted = torch.ops.aten.threshold_backward(by_place @ w.d2, piece.lifted, 0)
    sums.d1.add_(by_lifted.t() @ offsets.flatten(0, 1))
    sums.b1.add_(by_lifted.sum(dim=0))
    return by_near


def _pieces(index: Tensor, dtype: torch.dtype) -> list[tuple[int, slice]]:
    """Each grid's queries in pieces."""
    grids, queries, neighbours = index.shape
    size = max(ROWS.get(dtype, ROWS[torch.float32]) // neighbours, 1)
    return [(grid, slice(first, first + size)) for grid in range(grids) for first in range(0, queries, size)]
