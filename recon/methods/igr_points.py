"""What both forms of IGR do with points: local scale, samples off the surface, frames, evaluation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from recon.geometry.frames import Frame
from recon.io.types import Cloud, Mesh
from recon.metrics.legacy import nnabla, nnabla_legacy
from recon.nets.value_gradient import Field
from recon.observations import OrientedPoints, Points


def local_sigma(points: np.ndarray, neighbours: int = 50) -> np.ndarray:
    """(N,) distance of each of (N, d) points to its 50th neighbour, itself not counted.

    The authors' code passes whole rows: with (N, 6) points and normals this is a distance in six dimensions.
    """
    tree = cKDTree(points)
    wanted = min(neighbours, len(points) - 1) + 1
    return tree.query(points, k=[wanted], workers=-1)[0][:, 0]


def off_surface_points(
    points: Tensor, sigma: Tensor | float, uniform: int, box: float, generator: torch.Generator | None = None
) -> Tensor:
    """One normal sample about each point, then `uniform` samples of the box [-box, box]^d.

    Args:
        points: (..., N, d).
        sigma: (N,) standard deviations, or one for all.
        uniform: samples of the box.
        box: half its side.
        generator: on the points' device; draws the normal samples first, as the authors do.

    Returns:
        (..., N + uniform, d).
    """
    make: dict[str, Any] = {"device": points.device, "dtype": points.dtype, "generator": generator}
    spread = sigma[:, None] if isinstance(sigma, Tensor) else sigma
    local = points + torch.randn(points.shape, **make) * spread
    drawn = torch.rand(*points.shape[:-2], uniform, points.shape[-1], **make) * (2 * box) - box
    return torch.cat([local, drawn], dim=-2)


def grid_frame(grid: int, bound: float) -> Frame:
    """The frame of the nnabla example's meshes: grid units, turned by 90 degrees about z (specified by its infer.py).

    A vertex there is ``(i_y, -i_x, i_z)``, with ``i = (p + bound) / h`` and ``h = 2 bound / (grid - 1)``.
    """
    scale = (grid - 1) / (2 * bound)
    turn = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    return Frame(scale, turn, scale * bound * np.array([1.0, -1.0, 1.0]))


def in_frame(observation: Points, frame: Frame) -> Points:
    """The observation with local coordinates of a given frame, in float32."""
    cloud = observation.to_cloud()
    changes: dict[str, Any] = {"points": torch.from_numpy(frame.to_local(cloud.points)).float(), "frame": frame}
    if isinstance(observation, OrientedPoints):
        assert cloud.normals is not None
        local = torch.from_numpy(frame.normals_to_local(cloud.normals))
        changes["normals"] = torch.nn.functional.normalize(local, dim=1).float()
    return replace(observation, **changes)


def mesh_scores(mesh: Mesh, points: Tensor, held: Tensor) -> dict[str, float]:
    """Distances of a mesh to held-out points, true and as the nnabla example publishes them; longest side 2.

    Args:
        mesh: in local coordinates.
        points: (N, 3) all points of the cloud, local.
        held: (M, 3) those that were held out, local.
    """
    unit = Frame.fit(points.cpu().numpy(), "box", 2.0)
    everything, rest = (Cloud(unit.to_local(rows.cpu().numpy())) for rows in (points, held))
    mesh = replace(mesh, vertices=unit.to_local(mesh.vertices))
    true, published = nnabla(mesh, rest), nnabla_legacy(mesh, everything)
    names = {"cd": "chamfer", "hd": "hausdorff"}
    scores = {f"val/{name}": true[key] for key, name in names.items()}
    return scores | {f"val/legacy_{name}": published[key] for key, name in names.items()}


def share_of(rows: Tensor, rank: int, world: int) -> Tensor:
    """Every world-th row; a few are left out where the count does not divide, so that all shares weigh the same."""
    return rows[: len(rows) // world * world][rank::world]


@torch.no_grad()
def values(field: Field, code: Tensor | None, x: Tensor) -> Tensor:
    """(N,) values at (N, 3) points, with one code (1, C) or none."""
    return field(x) if code is None else field(x[None], code)[0]


@torch.no_grad()
def gradients(field: Field, code: Tensor | None, x: Tensor) -> Tensor:
    """(N, 3) gradients at (N, 3) points, with one code (1, C) or none."""
    return field.value_and_gradient(x)[1] if code is None else field.value_and_gradient(x[None], code)[1][0]
