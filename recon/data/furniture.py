"""Families of furniture-like solids: thin legs, slats, open boxes; each piece follows from its random numbers.

All stand upright (y up) in a box of about two units, and are unions of closed solids: their sign is exact.
"""

from __future__ import annotations

import numpy as np

from recon.data.fields import Field, box, capsule, cylinder, lathe, moved, torus, union, without

Rng = np.random.Generator


def chair(rng: Rng) -> Field:
    """Seat, four legs, a back that is solid or of slats, with or without arms."""
    w, d, seat = rng.uniform(0.4, 0.55), rng.uniform(0.4, 0.55), rng.uniform(-0.2, 0.05)
    top, thick, leg = rng.uniform(0.7, 0.98), rng.uniform(0.025, 0.06), rng.uniform(0.025, 0.06)
    parts = [moved(box(w, thick, d, 0.3 * thick), (0, seat, 0)), *_legs(rng, w, d, -0.95, seat, leg)]
    middle, half = (seat + top) / 2, (top - seat) / 2
    if rng.random() < 0.5:
        parts.append(moved(box(w, half, leg, 0.01), (0, middle, leg - d)))
    else:
        count = int(rng.integers(3, 7))
        places = np.linspace(leg - w, w - leg, count)
        parts += [moved(box(leg, half, leg), (x, middle, leg - d)) for x in places]
        parts.append(moved(box(w, 1.5 * leg, leg, 0.01), (0, top - leg, leg - d)))
    if rng.random() < 0.4:
        height = seat + rng.uniform(0.25, 0.4)
        for x in (leg - w, w - leg):
            parts.append(moved(box(leg, thick, d), (x, height, 0)))
            parts.append(moved(box(leg, (height - seat) / 2, leg), (x, (height + seat) / 2, d - leg)))
    return union(*parts)


def table(rng: Rng) -> Field:
    """A top, round or not, on four legs or on a pillar; perhaps a shelf below."""
    w, d, top = rng.uniform(0.6, 0.95), rng.uniform(0.45, 0.8), rng.uniform(0.1, 0.6)
    thick, leg = rng.uniform(0.025, 0.06), rng.uniform(0.03, 0.07)
    disk = rng.random() < 0.3
    board = cylinder(d, thick, 1) if disk else box(w, thick, d, 0.3 * thick)
    parts = [moved(board, (0, top, 0))]
    if disk or rng.random() < 0.25:
        foot = rng.uniform(0.3, 0.5)
        parts.append(moved(cylinder(1.3 * leg, (top + 0.9) / 2, 1), (0, (top - 0.9) / 2, 0)))
        parts.append(moved(cylinder(foot, 0.04, 1), (0, -0.9, 0)))
    else:
        parts += _legs(rng, w, d, -0.95, top, leg)
        if rng.random() < 0.4:
            parts.append(moved(box(w - leg, thick, d - leg), (0, rng.uniform(-0.7, top - 0.4), 0)))
    return union(*parts)


def bookcase(rng: Rng) -> Field:
    """Boards between two sides, open in front, with a thin back."""
    w, h, d = rng.uniform(0.4, 0.8), rng.uniform(0.7, 0.98), rng.uniform(0.2, 0.35)
    board = rng.uniform(0.02, 0.045)
    sides = [moved(box(board, h, d), (x, 0, 0)) for x in (board - w, w - board)]
    levels = np.linspace(board - h, h - board, int(rng.integers(3, 7)))
    shelves = [moved(box(w, board, d), (0, y, 0)) for y in levels]
    parts = [*sides, *shelves, moved(box(w, h, 0.02), (0, 0, 0.02 - d))]
    if rng.random() < 0.5:
        parts.append(moved(box(board, h, d), (rng.uniform(-0.4, 0.4) * w, 0, 0)))
    return union(*parts)


def cabinet(rng: Rng) -> Field:
    """A box with grooves between its doors, handles and feet."""
    w, h, d = rng.uniform(0.45, 0.8), rng.uniform(0.45, 0.8), rng.uniform(0.3, 0.5)
    doors, groove = int(rng.integers(1, 4)), 0.025
    cuts = [moved(box(groove / 2, h - 0.06, 0.04), (x, 0, d)) for x in np.linspace(-w, w, doors + 1)[1:-1]]
    levels = rng.uniform(-0.6, 0.6, int(rng.integers(0, 3))) * h
    cuts += [moved(box(w - 0.06, groove / 2, 0.04), (0, y, d)) for y in levels]
    body = without(box(w, h, d, 0.01), *cuts) if cuts else box(w, h, d, 0.01)
    centres = np.linspace(-w, w, 2 * doors + 1)[1::2]
    handles = [capsule((x, -0.12, d + 0.05), (x, 0.12, d + 0.05), 0.022) for x in centres]
    stems = [capsule((x, y, d - 0.02), (x, y, d + 0.05), 0.022) for x in centres for y in (-0.1, 0.1)]
    return union(body, *handles, *stems, *_legs(rng, w, d, -h - rng.uniform(0.05, 0.15), 0.05 - h, 0.05))


def sofa(rng: Rng) -> Field:
    """Base, back, two arms and cushions, all rounded."""
    w, d, round_ = rng.uniform(0.7, 0.95), rng.uniform(0.35, 0.5), rng.uniform(0.03, 0.08)
    seat, arm, back = rng.uniform(-0.15, 0.05), rng.uniform(0.1, 0.18), rng.uniform(0.35, 0.6)
    parts = [moved(box(w, 0.18, d, round_), (0, seat - 0.18, 0))]
    parts.append(moved(box(w, (back - seat) / 2 + 0.2, 0.12, round_), (0, (back + seat) / 2 - 0.2, 0.12 - d)))
    height = seat + rng.uniform(0.15, 0.3)
    side = box(arm, (height - seat) / 2 + 0.2, d, round_)
    parts += [moved(side, (x, (height + seat) / 2 - 0.2, 0)) for x in (arm - w, w - arm)]
    count = int(rng.integers(1, 4))
    room = 2 * (w - 2 * arm) / count
    places = (np.arange(count) + 0.5) * room - (w - 2 * arm)
    parts += [moved(box(room / 2 - 0.015, 0.08, d - 0.14, 0.04), (x, seat + 0.05, 0.1)) for x in places]
    return union(*parts, *_legs(rng, w, d, seat - 0.5, seat - 0.3, 0.04))


def bed(rng: Rng) -> Field:
    """Frame, mattress, a board at the head, legs."""
    w, length, thick = rng.uniform(0.45, 0.7), rng.uniform(0.8, 0.97), rng.uniform(0.08, 0.16)
    head = rng.uniform(0.25, 0.6)
    parts = [box(w, 0.05, length, 0.01), moved(box(w - 0.03, thick, length - 0.05, 0.06), (0, 0.03 + thick, 0))]
    parts.append(moved(box(w, head / 2 + 0.1, 0.03), (0, head / 2, 0.03 - length)))
    pillows = 2 if w > 0.55 else 1
    places = [0.0] if pillows == 1 else [-0.5 * w, 0.5 * w]
    parts += [moved(box(0.4 * w, 0.06, 0.14, 0.055), (x, 2 * thick + 0.06, 0.25 - length)) for x in places]
    return union(*parts, *_legs(rng, w, length, -rng.uniform(0.25, 0.4), 0, 0.04))


def lamp(rng: Rng) -> Field:
    """A foot, a thin pole, and an open shade with a wall."""
    shade, low, high = rng.uniform(0.3, 0.55), rng.uniform(0.2, 0.45), rng.uniform(0.75, 0.95)
    upper, wall = rng.uniform(0.3, 0.8) * shade, rng.uniform(0.035, 0.05)
    profile = np.array([(shade, low), (upper, high), (upper - wall, high), (shade - wall, low)])
    pole = capsule((0, -0.9, 0), (0, (low + high) / 2, 0), rng.uniform(0.02, 0.04))
    foot = moved(cylinder(rng.uniform(0.25, 0.45), 0.04, 1), (0, -0.9, 0))
    middle = (low + high) / 2
    reach = (shade + upper) / 2 - wall
    spokes = [capsule((0, middle, 0), (reach * np.cos(a), middle, reach * np.sin(a)), 0.018) for a in (0.3, 2.4, 4.5)]
    return union(pole, foot, lathe(profile), *spokes)


def vase(rng: Rng) -> Field:
    """A hollow body of revolution, open at the top."""
    heights = np.linspace(-0.9, 0.9, 9)
    radii = 0.3 + 0.16 * np.cumsum(rng.normal(0, 0.4, 9))
    radii = np.clip(np.convolve(np.pad(radii, 1, "edge"), [0.25, 0.5, 0.25], "valid"), 0.14, 0.75)
    wall = rng.uniform(0.045, 0.08)
    outer = np.stack([radii, heights], axis=1)
    steep = np.sqrt(1 + np.gradient(radii, heights) ** 2)
    inner = np.stack([radii - wall * steep, heights], axis=1)[1:]
    inner[0, 1] = heights[0] + wall
    profile = np.vstack([[(0, heights[0])], outer, inner[::-1], [(0, inner[0, 1])]])
    return lathe(profile)


def mug(rng: Rng) -> Field:
    """A cup with a handle."""
    r, h, wall = rng.uniform(0.4, 0.6), rng.uniform(0.5, 0.85), rng.uniform(0.045, 0.08)
    cup = np.array([(0, -h), (r, -h), (r * rng.uniform(0.9, 1.2), h)])
    inner = np.array([(cup[2, 0] - wall, h), (r - wall, 2 * wall - h), (0, 2 * wall - h)])
    ring, bar = rng.uniform(0.45, 0.7) * h, rng.uniform(0.05, 0.09)
    body = lathe(np.vstack([cup, inner]))
    handle = without(torus(ring, bar, (r, 0, 0), 2), cylinder(r - wall / 2, 2, 1))
    return union(body, handle)


def _legs(rng: Rng, w: float, d: float, low: float, high: float, thick: float) -> list[Field]:
    """Four legs at the corners, square or round, upright or splayed."""
    spread = 1.0 if rng.random() < 0.6 else rng.uniform(0.8, 0.95)
    square = spread == 1.0 and rng.random() < 0.6
    legs = []
    for x in (-1, 1):
        for z in (-1, 1):
            top = np.array([x * (w - thick) * spread, high - (0 if square else thick), z * (d - thick) * spread])
            foot = np.array([x * (w - thick), low, z * (d - thick)])
            middle = (top + foot) / 2
            legs.append(moved(box(thick, (high - low) / 2, thick), middle) if square else capsule(foot, top, thick))
    return legs


FURNITURE = {f.__name__: f for f in (chair, table, bookcase, cabinet, sofa, bed, lamp, vase, mug)}
