"""Frames, outliers and smoother normals of clouds, from neighbourhoods; batched over packed clouds."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from recon.geometry.near import Near, Trees
from recon.geometry.packed import Counts, counts_of, spread
from recon.geometry.resampling import Compat

WIDEST = 0.2  # radius of neighbourhoods in units of the object, which lies in the unit sphere


def pca_frames(points: Tensor, k: int, counts: Counts = None) -> tuple[Tensor, Tensor]:
    """Principal axes of each point's `k` nearest points, itself among them.

    Args:
        points: (N, 3), packed.
        k: points a neighbourhood.
        counts: points a cloud.

    Returns:
        (N, 3) variances, ascending, and (N, 3, 3) unit axes as columns in that order, the first the normal, of
        arbitrary sign.
    """
    near = Trees(points, counts).query(points, k, counts)
    weight = near.valid[..., None].double()
    patch, total = points.detach().double()[near.index], weight.sum(dim=1, keepdim=True)
    centred = (patch - (patch * weight).sum(dim=1, keepdim=True) / total) * weight
    variance, axes = torch.linalg.eigh(centred.transpose(1, 2) @ centred / total)
    return variance.clamp(min=0).to(points.dtype), axes.to(points.dtype)


def is_flat(points: Tensor, k: int = 16, tolerance: float = 0.05, counts: Counts = None) -> Tensor:
    """(N,) whether the neighbourhood is flat: its least variance is a share below `tolerance` of all. Others lie out.

    Args:
        points: (N, 3), packed.
        k: points a neighbourhood, itself among them.
        tolerance: that share; 1/3 is a ball's.
        counts: points a cloud.
    """
    variance, _ = pca_frames(points, k, counts)
    return variance[:, 0] < tolerance * variance.sum(dim=1)


def curvature(points: Tensor, k: int = 12, counts: Counts = None) -> Tensor:
    """(N,) least by largest variance of `k` nearest points, 0 in a plane."""
    variance, _ = pca_frames(points, k, counts)
    return variance[:, 0] / variance[:, 2].clamp(min=torch.finfo(points.dtype).tiny)


def denoise_normals(
    points: Tensor,
    normals: Tensor,
    angle: float = 30.0,
    k: int = 16,
    counts: Counts = None,
    compat: Compat = None,
    near: Near | None = None,
) -> Tensor:
    """(N, 3) unit normals, each the mean of its neighbours', near and similar ones foremost.

    Args:
        points: (N, 3), packed, of a unit object.
        normals: (N, 3) of any length.
        angle: degrees between normals that count as similar.
        k: neighbours.
        counts: points a cloud.
        compat: ``"released"`` takes the number of degrees for the scale of 1 - cos, so that all normals are similar.
        near: the neighbours, where they are known.
    """
    sizes = counts_of(points, counts)
    number = spread(points.new_tensor(sizes), sizes)
    near = cut_off(Trees(points, sizes).around(k) if near is None else near, number)
    normals = normalize(normals.detach(), dim=1)
    like = similarity(normals, near, angle if compat == "released" else 1 - math.cos(math.radians(angle)))
    weight = torch.where(near.valid, like * torch.exp(-near.square * number / 2), 0.0)
    mean = (weight[..., None] * normals[near.index]).sum(dim=1)
    # Points without neighbours, or between opposite ones, keep what they have.
    return torch.where(mean.norm(dim=1, keepdim=True) > 0, normalize(mean, dim=1), normals)


def cut_off(near: Near, number: Tensor) -> Near:
    """Neighbours as near as points of `number` (N, 1) on a unit object are expected to be."""
    return near.within((32 / number).sqrt().clamp(max=WIDEST))


def similarity(normals: Tensor, near: Near, scale: float) -> Tensor:
    """(N, k) ``exp(-((1 - cos) / scale)^2)`` of the angles to the neighbours' normals."""
    cosine = (normals[:, None] * normals[near.index]).sum(dim=-1)
    return torch.exp(-(((1 - cosine) / scale) ** 2))
