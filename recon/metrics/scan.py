"""How well a mesh explains the scan it was made from: all that can be said where the true surface is not known."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial import cKDTree

from recon.geometry.distance import MeshDistance
from recon.geometry.sampling import sample_surface
from recon.io.types import Cloud, Mesh


def scan_to_mesh(scan: Cloud, mesh: Mesh, samples: int = 50_000, seed: int = 0) -> dict[str, float]:
    """Exact distances from scan points to the mesh, one-sided: surface that nobody saw costs nothing here.

    Args:
        scan: the input points.
        mesh: the result; for an empty one all values are infinite.
        samples: at most so many of the points are measured, drawn without replacement.
        seed: of that draw.

    Returns:
        ``scan_to_mesh_mean``, ``scan_to_mesh_rms`` and ``scan_to_mesh_max``, in the scan's unit.
    """
    if mesh.is_empty:
        distance = np.array([math.inf])
    else:
        rows = np.random.default_rng(seed).permutation(len(scan.points))[:samples]
        distance = MeshDistance(mesh).query(scan.points[rows]).distance
    return {
        "scan_to_mesh_mean": float(distance.mean()),
        "scan_to_mesh_rms": float(np.sqrt((distance**2).mean())),
        "scan_to_mesh_max": float(distance.max()),
    }


def unsupported_share(scan: Cloud, mesh: Mesh, spacings: float = 5.0, samples: int = 20_000, seed: int = 0) -> float:
    """Share of a mesh's area that lies farther from every scan point than so many sample spacings.

    Closed surfaces of open scans have such parts: caps that nobody measured.

    Args:
        scan: the input points.
        mesh: the result.
        spacings: how far is far, in mean distances of neighbouring points.
        samples: points drawn on the mesh.
        seed: of that draw.
    """
    if mesh.is_empty:
        return 0.0
    tree = cKDTree(scan.points)
    rows = np.random.default_rng(seed).permutation(len(scan.points))[:samples]
    spacing = float(tree.query(scan.points[rows], k=2)[0][:, 1].mean())
    drawn = sample_surface(mesh, samples, seed).points
    return float((tree.query(drawn)[0] > spacings * spacing).mean())
