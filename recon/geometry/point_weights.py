"""How far to trust the points of a noisy scan, judged by iso-points of the surface so far (Iso-Points, section 3.3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from recon.geometry.near import Trees
from recon.geometry.packed import Counts, counts_of, guarded, spread
from recon.geometry.resampling import Compat

SIMILAR = 60.0  # degrees between normals
SCALE_POINT, SCALE_NORMAL = 0.4, 0.7


def bilateral_weights(
    points: Tensor,
    normals: Tensor,
    iso: Tensor,
    iso_normals: Tensor,
    radius: float = 0.1,
    counts: Counts = None,
    iso_counts: Counts = None,
) -> Tensor:
    """(N,) nearness to the tangent plane of the nearest iso-point, times likeness of the normals; 0 without one.

    Args:
        points: (N, 3) of the scan, packed, of a unit object.
        normals: (N, 3) theirs, of any length.
        iso: (M, 3) iso-points.
        iso_normals: (M, 3) gradients there, of any length.
        radius: in which the nearest iso-point is sought.
        counts: points a cloud.
        iso_counts: iso-points a cloud.
    """
    sizes, iso_sizes = counts_of(points, counts), counts_of(iso, iso_counts)
    offset, facing, inside = _nearest(points, iso, iso_normals, radius, sizes, iso_sizes)
    height = (offset * facing).sum(dim=1)
    bend = (1 - (normalize(normals, dim=1) * facing).sum(dim=1)) / (1 - math.cos(math.radians(SIMILAR)))
    weight = torch.exp(-(height**2) * _precision(iso, iso_sizes, sizes)) * torch.exp(-(bend**2))
    return torch.where(inside, weight, 0.0)


def laplacian_weights(
    points: Tensor,
    normals: Tensor,
    iso: Tensor,
    iso_normals: Tensor,
    radius: float = 0.15,
    counts: Counts = None,
    iso_counts: Counts = None,
) -> Tensor:
    """(N,) nearness along the sum of both normals to the nearest iso-point; 0 without one. See `bilateral_weights`."""
    sizes, iso_sizes = counts_of(points, counts), counts_of(iso, iso_counts)
    offset, facing, inside = _nearest(points, iso, iso_normals, radius, sizes, iso_sizes)
    height = (offset * (normalize(normals, dim=1) + facing)).sum(dim=1)
    return torch.where(inside, torch.exp(-(height**2) * _precision(iso, iso_sizes, sizes)), 0.0)


def heat_weights(
    points: Tensor,
    normals: Tensor,
    iso: Tensor,
    iso_normals: Tensor,
    radius: float = 0.15,
    k: int = 8,
    counts: Counts = None,
    iso_counts: Counts = None,
    compat: Compat = None,
) -> Tensor:
    """(N,) how well a Gaussian process through the nearest iso-points explains a point: ``k^T K^+ k``, at most 1.

    Positions and normals are compared together.

    Args:
        points: (N, 3) of the scan, packed, of a unit object.
        normals: (N, 3) theirs, of any length.
        iso: (M, 3) iso-points.
        iso_normals: (M, 3) gradients there, of any length.
        radius: beyond which iso-points do not count.
        k: nearest iso-points.
        counts: points a cloud.
        iso_counts: iso-points a cloud.
        compat: ``"released"`` leaves iso-points beyond the radius in one side of K, as points at the origin.
    """
    if len(iso) == 0:
        return points.new_zeros(len(points))
    near = Trees(iso, iso_counts).query(points, k, counts).within(radius)
    valid = near.valid.to(points.dtype)
    theirs = torch.cat([iso / SCALE_POINT, normalize(iso_normals, dim=1) / SCALE_NORMAL], dim=1)[near.index]
    mine = torch.cat([points / SCALE_POINT, normalize(normals, dim=1) / SCALE_NORMAL], dim=1)[:, None]
    if compat == "released":
        theirs = theirs * valid[..., None]
    cross = torch.exp(-(theirs - mine).square().sum(dim=-1)) * valid
    among = torch.exp(-(theirs[:, :, None] - theirs[:, None]).square().sum(dim=-1)) * valid[:, :, None]
    if compat is None:
        among = among * valid[:, None]
    # Twice the precision, for neighbours that are alike make K near to singular; what is cut off is float32's.
    inverse = torch.linalg.pinv(among.double(), rtol=k * torch.finfo(torch.float32).eps)
    weight = (cross.double()[:, None] @ inverse @ cross.double()[..., None])[:, 0, 0]
    return weight.clamp(max=1).to(points.dtype)


def _nearest(
    points: Tensor, iso: Tensor, iso_normals: Tensor, radius: float, counts: list[int], iso_counts: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Offsets from the nearest iso-point, its unit normal, and whether there is one."""
    near = Trees(iso, iso_counts).query(points, 1, counts).within(radius)
    index = near.index[:, 0]
    if len(iso) == 0:
        return torch.zeros_like(points), torch.zeros_like(points), near.valid[:, 0]
    return points - iso[index], normalize(iso_normals[index], dim=1), near.valid[:, 0]


def _precision(iso: Tensor, iso_counts: list[int], counts: list[int]) -> Tensor:
    """(N,) iso-points per diameter, by 16, spread over the points."""
    reach = [cloud.norm(dim=1).max() if len(cloud) else iso.new_ones(()) for cloud in iso.split(iso_counts)]
    return spread(iso.new_tensor(iso_counts) / guarded(2 * torch.stack(reach)) / 16, counts)[:, 0]
