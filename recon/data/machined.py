"""Families of machined parts: plates, bores, teeth, fins; sharp edges, holes and thin walls.

Each part follows from its random numbers, fits a box of about two units, and has an exact sign.
"""

from __future__ import annotations

import numpy as np

from recon.data.fields import Field, box, common, cylinder, extrude, moved, regular, union, without

Rng = np.random.Generator


def bracket(rng: Rng) -> Field:
    """An angle of two plates with bolt holes and a rib."""
    w, a, b = rng.uniform(0.35, 0.8), rng.uniform(0.7, 0.95), rng.uniform(0.5, 0.9)
    thick = rng.uniform(0.05, 0.13)
    floor = moved(box(w, thick, a), (0, thick - 0.6, 0))
    wall = moved(box(w, b, thick), (0, b - 0.6, thick - a))
    reach, height = rng.uniform(0, 0.6) * a, (2 * b - 0.6) * rng.uniform(0.3, 0.9)
    rib = extrude(np.array([(-a, -0.6), (reach, -0.6), (-a, height)]), 0.05)
    turned = lambda p: rib(p[:, [2, 1, 0]])  # noqa: E731 - drawn in the plane of z and y
    hole = rng.uniform(0.06, 0.12)
    places = [(x * w, z) for x in (-0.5, 0.5) for z in ((0.55 * a,) if rng.random() < 0.5 else (0.1 * a, 0.65 * a))]
    bores = [moved(cylinder(hole, 1, 1), (x, -0.6, z)) for x, z in places]
    bores += [moved(cylinder(hole, 0.5, 2), (x * w, b - 0.3, -a)) for x in (-0.5, 0.5)]
    return without(union(floor, wall, turned), *bores)


def flange(rng: Rng) -> Field:
    """A round plate with a hub, a bore and a ring of bolt holes."""
    plate, hub = rng.uniform(0.8, 0.98), rng.uniform(0.35, 0.5)
    bore, count = rng.uniform(0.5, 0.8) * hub, int(rng.integers(3, 9))
    ring = (plate + hub) / 2
    hole = min(0.3 * (plate - hub), 0.13) * rng.uniform(0.6, 1.0)
    holes = [moved(cylinder(hole, 2), (x, y, 0)) for x, y in ring * _circle(count)]
    body = union(moved(cylinder(plate, rng.uniform(0.06, 0.15)), (0, 0, -0.3)), moved(cylinder(hub, 0.45), (0, 0, 0.1)))
    return without(body, cylinder(bore, 2), *holes)


def gear(rng: Rng) -> Field:
    """A spur gear with a bore, and perhaps windows between spokes."""
    teeth, depth, half = int(rng.integers(10, 26)), rng.uniform(0.1, 0.16), rng.uniform(0.12, 0.3)
    angles = np.linspace(0, 2 * np.pi, 4 * teeth, endpoint=False) + np.tile([0.0, 0.12, 0.0, -0.12], teeth) / teeth
    radii = np.tile([0.95 - depth, 0.95, 0.95, 0.95 - depth], teeth)
    outline = radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    bore = rng.uniform(0.1, 0.2)
    cuts = [cylinder(bore, 2)]
    windows = int(rng.integers(0, 7))
    if windows >= 3:
        ring = 0.5 * (0.9 - depth + bore)
        size = min(0.6 * ring * np.pi / windows, 0.3 * (0.9 - depth - bore))
        cuts += [moved(cylinder(size, 2), (x, y, 0)) for x, y in ring * _circle(windows)]
    return without(extrude(outline, half), *cuts)


def nut(rng: Rng) -> Field:
    """A polygon with a bore, its corners bevelled, on a washer."""
    sides, half = int(rng.integers(4, 9)), rng.uniform(0.2, 0.6)
    body = common(extrude(regular(sides, 0.9), half), cylinder(0.9 * rng.uniform(0.93, 1.0), 2))
    washer = moved(cylinder(0.95, 0.06), (0, 0, -half))
    return without(union(body, washer), cylinder(rng.uniform(0.35, 0.55), 2))


def pipe(rng: Rng) -> Field:
    """Two or three hollow arms that meet at right angles, with collars."""
    outer, wall = rng.uniform(0.25, 0.4), rng.uniform(0.04, 0.08)
    arms = [(0, 0.45), (0, -0.45), (1, 0.45)] if rng.random() < 0.6 else [(0, 0.45), (1, 0.45)]
    solid, hollow = [cylinder(outer, outer, 2)], [cylinder(outer - wall, outer - wall, 2)]
    for axis, middle in arms:
        place, end = np.zeros(3), np.zeros(3)
        place[axis], end[axis] = middle, 2 * middle * 0.97
        solid.append(moved(cylinder(outer, 0.45, axis), place))
        solid.append(moved(cylinder(outer + wall, 0.07, axis), end))
        hollow.append(moved(cylinder(outer - wall, 0.6, axis), place + np.sign(middle) * 0.15 * np.eye(3)[axis]))
    return without(union(*solid), *hollow)


def heatsink(rng: Rng) -> Field:
    """Thin fins on a plate."""
    w, d, height = rng.uniform(0.6, 0.95), rng.uniform(0.5, 0.95), rng.uniform(0.4, 0.8)
    count, thin = int(rng.integers(4, 10)), rng.uniform(0.025, 0.04)
    plate = moved(box(w, 0.08, d), (0, -0.5, 0))
    fins = [moved(box(thin, height / 2, d), (x, height / 2 - 0.5, 0)) for x in np.linspace(thin - w, w - thin, count)]
    holes = [moved(cylinder(0.05, 0.3, 1), (0, -0.5, z)) for z in (-0.8 * d, 0.8 * d)]
    return without(union(plate, *fins), *holes) if rng.random() < 0.5 else union(plate, *fins)


def crank(rng: Rng) -> Field:
    """Two bored bosses joined by a web."""
    a, b = rng.uniform(0.25, 0.35), rng.uniform(0.18, 0.3)
    length, web = rng.uniform(0.55, 0.65), rng.uniform(0.06, 0.14)
    tall = rng.uniform(0.15, 0.35)
    low = tall * rng.uniform(0.7, 1.2)
    bosses = [moved(cylinder(a, tall), (-length, 0, 0)), moved(cylinder(b, low), (length, 0, 0))]
    bar = box(length, 0.8 * min(a, b), web)
    bores = [moved(cylinder(rng.uniform(0.4, 0.7) * r, 2), (x, 0, 0)) for r, x in ((a, -length), (b, length))]
    slot = box(rng.uniform(0.1, 0.2), 0.35 * min(a, b), 2)
    return without(union(*bosses, bar), *bores, slot)


def wheel(rng: Rng) -> Field:
    """Rim, spokes and a bored hub."""
    rim, wide, hub = rng.uniform(0.08, 0.16), rng.uniform(0.1, 0.25), rng.uniform(0.15, 0.28)
    ring = without(cylinder(0.95, wide), cylinder(0.95 - rim, 2))
    spokes = []
    for x, y in _circle(int(rng.integers(3, 9))):
        turn = np.array([[x, y, 0], [-y, x, 0], [0, 0, 1]])
        bar = moved(box(0.45, rng.uniform(0.03, 0.06), 0.05), (0.5, 0, 0))
        spokes.append(lambda p, bar=bar, turn=turn: bar(p @ turn.T))
    return without(union(ring, cylinder(hub, wide), *spokes), cylinder(0.5 * hub, 2))


def _circle(count: int) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


MACHINED = {f.__name__: f for f in (bracket, flange, gear, nut, pipe, heatsink, crank, wheel)}
