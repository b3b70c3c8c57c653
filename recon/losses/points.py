"""Losses on a distance field's values at points of the surface, off it, and on latent codes."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

Reduction = Literal["mean", "sum", "none"]


def reduce(values: Tensor, reduction: Reduction) -> Tensor:
    """`values` averaged, summed, or as they are."""
    if reduction == "none":
        return values
    return values.mean() if reduction == "mean" else values.sum()


def surface_distance(value: Tensor, power: Literal[1, 2] = 1, reduction: Reduction = "mean") -> Tensor:
    """``|f|^power`` at points of the surface: 1 in the authors' IGR, 2 (and summed) in the nnabla example."""
    return reduce(value.abs() if power == 1 else value.square(), reduction)


def off_surface(value: Tensor, sharpness: float = 100.0, reduction: Reduction = "mean") -> Tensor:
    """``exp(-sharpness |f|)``: no second surface away from the data (Sitzmann et al. 2020, eq. 6)."""
    return reduce((-sharpness * value.abs()).exp(), reduction)


def code_length(codes: Tensor, kind: Literal["l2", "l1"] = "l2") -> Tensor:
    """Mean length of latent codes (B, C).

    ``"l2"``: mean over the batch of ``|z|_2`` (IGR's training); ``"l1"``: mean of ``|z_i|`` over all components (its
    fit of one code at test time).
    """
    return codes.norm(dim=1).mean() if kind == "l2" else codes.abs().mean()
