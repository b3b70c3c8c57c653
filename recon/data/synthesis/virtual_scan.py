"""Virtual range scans of any mesh: what a scanner sees from some sides, with its noise, its outliers and its holes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from recon.data.synthesis.normalise import TO_Y, Up
from recon.errors import DataError
from recon.geometry.cameras import look_at
from recon.geometry.neighbours import Neighbours
from recon.geometry.normals import pca_normals
from recon.geometry.raycast import RayCaster
from recon.geometry.sampling import face_normals_and_areas
from recon.io.types import Cloud, Mesh

Normals = Literal["estimated", "true"]
GOLDEN = np.pi * (3 - np.sqrt(5))
FEWEST = 10


@dataclass(frozen=True)
class Scanner:
    """A range scanner and where it stands; lengths are in radii of the object's bounding sphere.

    Attributes:
        viewpoints: places that it scans from, around the object.
        elevation: lowest and highest of them, in degrees above the horizon.
        distance: of the places from the sphere's centre; more than 1.
        rays: along each side of the square grid of angles that just holds the sphere. Points get rarer with the
            square of the distance and with the slant of the surface, as of any scanner.
        noise: standard deviation of a range, along its ray.
        outliers: share of points whose range is anything between the sphere's front and its back.
        grazing: degrees between ray and surface below which ranges begin to fail; at a third of it all do.
        falloff: exponent of the returned light, cosine over squared distance (1 at the sphere's front), which is the
            probability of a range; 0 loses none, 1 is a matt surface at the end of the scanner's reach.
        normals: ``estimated`` from neighbouring points, as for a real scan, or the ``true`` ones; towards the scanner.
        neighbours: points that a normal is estimated from.
        up: the axis that points up.
    """

    viewpoints: int = 10
    elevation: tuple[float, float] = (-20.0, 60.0)
    distance: float = 3.0
    rays: int = 200
    noise: float = 0.002
    outliers: float = 0.005
    grazing: float = 15.0
    falloff: float = 0.0
    normals: Normals = "estimated"
    neighbours: int = 16
    up: Up = "y"


@dataclass(frozen=True)
class Scan:
    """A virtual scan.

    Attributes:
        cloud: the points with unit normals towards the scanner, in the mesh's coordinates.
        view: (N,) int64: the number of the viewpoint that saw each point.
        outlier: (N,) bool: whether its range is wrong.
        eyes: (V, 3) the viewpoints.
    """

    cloud: Cloud
    view: np.ndarray
    outlier: np.ndarray
    eyes: np.ndarray


def scan(mesh: Mesh, scanner: Scanner, seed: int | np.random.Generator = 0) -> Scan:
    """Scan a mesh from all viewpoints.

    Args:
        mesh: may be open; each side of a face is seen.
        scanner: see `Scanner`.
        seed: of all draws.

    Raises:
        DataError: if the mesh has no size or is hardly seen at all.
    """
    rng = np.random.default_rng(seed)
    used = np.asarray(mesh.vertices, dtype=np.float64)[np.unique(mesh.faces)]
    if len(used) == 0 or not np.ptp(used, axis=0).max() > 0:
        raise DataError("It has no faces of any size.")
    centre = (used.min(axis=0) + used.max(axis=0)) / 2
    radius = float(np.linalg.norm(used - centre, axis=1).max())
    eyes = centre + radius * viewpoints(scanner, rng)
    caster, normals = RayCaster(mesh), face_normals_and_areas(mesh)[0]
    parts = [_look(caster, normals, eye, centre, radius, scanner, rng) for eye in eyes]
    points, truth, rays, outlier = (np.concatenate(column) for column in zip(*parts, strict=True))
    view = np.repeat(np.arange(len(eyes)), [len(part[0]) for part in parts])
    if len(points) < FEWEST:
        raise DataError(f"Only {len(points)} points of it are seen.")
    if scanner.normals == "estimated":
        truth = pca_normals(Neighbours(points), min(scanner.neighbours, len(points)))
    towards = np.where((truth * rays).sum(axis=1, keepdims=True) > 0, -truth, truth)
    return Scan(Cloud(points, towards), view, outlier, eyes)


def viewpoints(scanner: Scanner, rng: np.random.Generator) -> np.ndarray:
    """(V, 3) places around the origin: even in azimuth and in area between the elevations, turned at random."""
    count = np.arange(scanner.viewpoints)
    low, high = np.sin(np.radians(scanner.elevation))
    # Heights in the order of the golden ratio, so that neighbours in azimuth differ in height.
    height = low + (high - low) * ((count * 0.6180339887498949 + rng.random()) % 1)
    azimuth = 2 * np.pi * (count / scanner.viewpoints + rng.random())
    flat = np.sqrt(1 - height**2)
    upright = np.stack([flat * np.sin(azimuth), height, flat * np.cos(azimuth)], axis=1)
    return scanner.distance * upright @ TO_Y[scanner.up]  # a row times the turn is the turn undone


def _look(
    caster: RayCaster,
    normals: np.ndarray,
    eye: np.ndarray,
    centre: np.ndarray,
    radius: float,
    scanner: Scanner,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Points, their faces' normals, rays, and whether they are outliers, of one viewpoint."""
    rays = _rays(eye, centre, scanner, rng)
    hits = caster.first_hit(np.broadcast_to(eye, rays.shape), rays)
    rays, ranges, truth = rays[hits.hit], hits.distance[hits.hit], normals[hits.face[hits.hit]]
    cosine = np.abs((rays * truth).sum(axis=1))
    front = (scanner.distance - 1) * radius
    kept = np.ones(len(rays)) if scanner.grazing <= 0 else _grazing(cosine, scanner.grazing)
    kept = kept * (cosine * (front / np.maximum(ranges, front)) ** 2) ** scanner.falloff
    stays = rng.random(len(rays)) < kept
    rays, ranges, truth = rays[stays], ranges[stays], truth[stays]
    ranges = ranges + rng.normal(size=len(rays)) * scanner.noise * radius
    outlier = rng.random(len(rays)) < scanner.outliers
    ranges = np.where(outlier, front + 2 * radius * rng.random(len(rays)), ranges)
    return eye + ranges[:, None] * rays, truth, rays, outlier


def _rays(eye: np.ndarray, centre: np.ndarray, scanner: Scanner, rng: np.random.Generator) -> np.ndarray:
    """(R, 3) unit directions of a grid, shifted and turned at random, that meet the sphere of interest."""
    half = np.arcsin(1 / scanner.distance)
    steps = (np.arange(scanner.rays) + rng.random((2, 1))) / scanner.rays * 2 - 1
    x, y = (half * axis.ravel() for axis in np.meshgrid(*steps))
    inside = x**2 + y**2 <= half**2
    x, y = x[inside], y[inside]
    off = np.hypot(x, y)
    scale = np.sinc(off / np.pi)  # equal angles, not equal steps on a plane
    local = np.stack([x * scale, y * scale, np.cos(off)], axis=1)
    return local @ look_at(eye, centre, rng.normal(size=3))[:3, :3].T


def _grazing(cosine: np.ndarray, limit: float) -> np.ndarray:
    """Probability of a range by the angle between ray and surface, as `DepthSensor` has it."""
    angle = 90 - np.degrees(np.arccos(np.clip(cosine, 0, 1)))
    return np.clip((angle / limit - 1 / 3) * 1.5, 0, 1)
