"""Signed fields of solids, negative inside, and how to combine them.

They are exact distances for the primitives and close to them elsewhere; the sign is exact everywhere, and the slope
at most about 1 near the surface. Primitives after I. Quilez, "Distance functions" (iquilezles.org).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

Field = Callable[[np.ndarray], np.ndarray]
"""(N, 3) points to (N,) values."""


def sphere(centre: tuple[float, float, float], radius: float) -> Field:
    """A ball."""
    return lambda p: np.linalg.norm(p - np.array(centre), axis=1) - radius


def ellipsoid(a: float, b: float, c: float) -> Field:
    """An ellipsoid of half axes a, b, c; not quite a distance away from the surface."""
    axes = np.array([a, b, c])

    def field(p: np.ndarray) -> np.ndarray:
        k0, k1 = np.linalg.norm(p / axes, axis=1), np.linalg.norm(p / axes**2, axis=1)
        return np.where(k0 < 1e-9, -axes.min(), k0 * (k0 - 1) / np.maximum(k1, 1e-12))

    return field


def torus(major: float, minor: float, centre: tuple[float, float, float] = (0, 0, 0), axis: int = 2) -> Field:
    """A ring about a coordinate axis."""

    def field(p: np.ndarray) -> np.ndarray:
        q = np.roll(p - np.array(centre), 2 - axis, axis=1)
        return np.hypot(np.hypot(q[:, 0], q[:, 1]) - major, q[:, 2]) - minor

    return field


def box(x: float, y: float, z: float, rounding: float = 0.0) -> Field:
    """A box of half sides x, y, z, its edges rounded."""
    half = np.array([x, y, z]) - rounding

    def field(p: np.ndarray) -> np.ndarray:
        q = np.abs(p) - half
        return np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(axis=1), 0) - rounding

    return field


def capsule(start: ArrayLike, end: ArrayLike, radius: float) -> Field:
    """All points within `radius` of a segment."""
    a, d = np.asarray(start, dtype=np.float64), np.subtract(end, start)

    def field(p: np.ndarray) -> np.ndarray:
        along = np.clip((p - a) @ d / (d @ d), 0, 1)
        return np.linalg.norm(p - a - along[:, None] * d, axis=1) - radius

    return field


def cylinder(radius: float, half: float, axis: int = 2) -> Field:
    """A round rod about a coordinate axis."""

    def field(p: np.ndarray) -> np.ndarray:
        q = np.roll(p, 2 - axis, axis=1)
        return extruded(np.hypot(q[:, 0], q[:, 1]) - radius, q[:, 2], half)

    return field


def extruded(flat: np.ndarray, height: np.ndarray, half: float) -> np.ndarray:
    """Distance to a plane figure, given as distances within its plane, drawn out to heights of +-`half`."""
    outside = np.hypot(np.maximum(flat, 0), np.maximum(np.abs(height) - half, 0))
    return outside + np.minimum(np.maximum(flat, np.abs(height) - half), 0)


def moved(field: Field, by: ArrayLike) -> Field:
    """A solid somewhere else."""
    offset = np.asarray(by, dtype=np.float64)
    return lambda p: field(p - offset)


def polygon(corners: np.ndarray) -> Field:
    """Signed distances in the plane, (N, 2) points to (N,) values, from a simple polygon of (K, 2) corners."""
    following = np.roll(corners, -1, axis=0)

    def field(p: np.ndarray) -> np.ndarray:
        squared, inside = np.full(len(p), np.inf), np.zeros(len(p), dtype=bool)
        for a, b in zip(corners, following, strict=True):
            d, rest = b - a, p - a
            along = np.clip(rest @ d / (d @ d), 0, 1)
            squared = np.minimum(squared, ((rest - along[:, None] * d) ** 2).sum(axis=1))
            crosses = (a[1] > p[:, 1]) != (b[1] > p[:, 1])
            left = (rest[:, 0] * d[1] < rest[:, 1] * d[0]) if d[1] > 0 else (rest[:, 0] * d[1] > rest[:, 1] * d[0])
            inside ^= crosses & left
        return np.where(inside, -1, 1) * np.sqrt(squared)

    return field


def regular(sides: int, radius: float) -> np.ndarray:
    """(sides, 2) corners of a regular polygon."""
    angles = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def extrude(corners: np.ndarray, half: float) -> Field:
    """A polygon in x and y drawn out along z to heights of +-`half`."""
    flat = polygon(corners)
    return lambda p: extruded(flat(p[:, :2]), p[:, 2], half)


def lathe(profile: np.ndarray) -> Field:
    """A polygon of (K, 2) radii and heights turned about the y axis; it may touch the axis."""
    # What touches the axis is carried across it, or the axis itself would count as surface.
    mirrored = np.where(profile[:, :1] == 0, -1e3, profile[:, :1])
    flat = polygon(np.hstack([mirrored, profile[:, 1:]]))
    return lambda p: flat(np.stack([np.hypot(p[:, 0], p[:, 2]), p[:, 1]], axis=1))


def union(*fields: Field) -> Field:
    """What lies in any of them."""
    return lambda p: np.minimum.reduce([f(p) for f in fields])


def common(*fields: Field) -> Field:
    """What lies in all of them."""
    return lambda p: np.maximum.reduce([f(p) for f in fields])


def without(field: Field, *taken: Field) -> Field:
    """The first, less all others."""
    return lambda p: np.maximum.reduce([field(p), *(-f(p) for f in taken)])


def smooth_union(fields: list[Field], width: float) -> Field:
    """A union whose creases are filled over `width` (log-sum-exp, so that the order does not matter)."""
    return lambda p: -width * np.logaddexp.reduce([-f(p) / width for f in fields])


def knot(p_turns: int, q_turns: int, radius: float) -> Field:
    """A tube along the torus knot (p, q)."""

    def curve(t: np.ndarray) -> np.ndarray:
        r = 0.62 + 0.25 * np.cos(q_turns * t)
        return np.stack([r * np.cos(p_turns * t), r * np.sin(p_turns * t), 0.35 * np.sin(q_turns * t)], axis=1)

    # Chords of 4096 pieces miss the curve by less than 2e-6.
    nodes = curve(np.linspace(0, 2 * np.pi, 4096, endpoint=False))
    tree = cKDTree(nodes)
    ahead = np.roll(nodes, -1, axis=0) - nodes

    def field(p: np.ndarray) -> np.ndarray:
        nearest = tree.query(p)[1]
        squared = []
        for first in (nearest, nearest - 1):
            d, rest = ahead[first], p - nodes[first]
            along = np.clip((rest * d).sum(axis=1) / (d * d).sum(axis=1), 0, 1)
            squared.append(((rest - along[:, None] * d) ** 2).sum(axis=1))
        return np.sqrt(np.minimum(*squared)) - radius

    return field


def gyroid(frequency: float, level: float) -> Field:
    """One of the two labyrinths of a gyroid, its value scaled to a slope of at most 1."""

    def field(p: np.ndarray) -> np.ndarray:
        q = p * frequency
        wave = (np.sin(q) * np.cos(np.roll(q, -1, axis=1))).sum(axis=1)
        return (wave - level) / (1.75 * frequency)

    return field


def gradient(field: Field, points: np.ndarray, step: float = 1e-4) -> np.ndarray:
    """(N, 3) central differences of a field."""
    offsets = step * np.eye(3)
    return np.stack([(field(points + o) - field(points - o)) / (2 * step) for o in offsets], axis=1)
