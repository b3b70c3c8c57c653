"""Meshes with sharp edges: dual contouring of a signed field whose gradient is known.

Marching cubes cuts every edge and corner of a solid at the size of a cell. Here each cell gets a vertex where the
tangent planes of its crossings meet, so that edges come out sharp and plane faces plane (Ju et al., Dual Contouring of
Hermite Data, 2002). A cell through which several sheets pass gets a vertex for each, which keeps thin walls apart
(Nielson, Dual Marching Cubes, 2004).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from recon.io.types import Mesh

Field = Callable[[np.ndarray], np.ndarray]
FLAT = 0.05  # eigenvalues below this share of the largest are directions in which a cell's planes say nothing
CORNERS = np.array([(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)])


def dual_contour(field: Field, gradient: Field, values: np.ndarray, low: np.ndarray, cell: float) -> Mesh:
    """The zero of a field as a watertight mesh with sharp edges.

    Args:
        field: (N, 3) points to (N,) values, negative inside; evaluated where the grid changes sign.
        gradient: (N, 3) points to (N, 3) slopes; their lengths do not matter.
        values: (X, Y, Z) field at the nodes; nodes on the border are positive.
        low: (3,) position of the first node.
        cell: side of a cell.

    Returns:
        Faces wind counter-clockwise seen from outside. Empty if nothing is negative.
    """
    inside = values < 0
    edges = [_crossed(inside, axis) for axis in range(3)]
    nodes = np.concatenate(edges)
    if not len(nodes):
        return Mesh.empty()
    axes = np.repeat(np.arange(3), [len(e) for e in edges])
    points = _crossings(field, values, nodes, axes, low, cell)
    normals = gradient(points)
    normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    around = _sheets_around(inside, nodes, axes)
    keys, corners = np.unique(around, return_inverse=True)
    corners = corners.reshape(around.shape)
    centre = low + (np.stack(np.unravel_index(keys // 4, inside.shape), axis=1) + 0.5) * cell
    vertices = _feature_points(points, normals, corners, centre, cell)
    outward = inside[tuple(nodes.T)]
    quads = np.where(outward[:, None], corners, corners[:, ::-1])
    return Mesh(vertices, _split(vertices, quads, normals))


def _crossed(inside: np.ndarray, axis: int) -> np.ndarray:
    """(E, 3) first nodes of the grid edges along an axis whose ends lie on different sides."""
    ahead = np.moveaxis(inside, axis, 0)
    changed = np.moveaxis(ahead[1:] != ahead[:-1], 0, axis)
    return np.argwhere(changed)


def _crossings(
    field: Field, values: np.ndarray, nodes: np.ndarray, axes: np.ndarray, low: np.ndarray, cell: float
) -> np.ndarray:
    """(E, 3) zeros of the field on the edges, by bisection with secant steps."""
    step = np.eye(3)[axes]
    start = low + nodes * cell
    a, b = np.zeros(len(nodes)), np.ones(len(nodes))
    fa, fb = values[tuple(nodes.T)].astype(np.float64), values[tuple((nodes + step.astype(int)).T)].astype(np.float64)
    for turn in range(12):
        # A plain secant crawls where the slope jumps, which is where edges are; every third step halves.
        t = (a + b) / 2 if turn % 3 == 2 else np.clip(a - fa * (b - a) / np.where(fb == fa, 1, fb - fa), a, b)
        ft = field(start + (t * cell)[:, None] * step)
        left = (ft < 0) == (fa < 0)
        a, fa = np.where(left, t, a), np.where(left, ft, fa)
        b, fb = np.where(left, b, t), np.where(left, fb, ft)
    t = np.where(np.abs(fa) < np.abs(fb), a, b)
    return start + (t * cell)[:, None] * step


def _sheets_around(inside: np.ndarray, nodes: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """(E, 4) keys of the sheets that meet each crossed edge, in the four cells around it, counter-clockwise."""
    case = np.zeros(tuple(n - 1 for n in inside.shape), dtype=np.int64)
    for bit, corner in enumerate(CORNERS):
        part = tuple(slice(c, c + n - 1) for c, n in zip(corner, inside.shape, strict=True))
        case |= inside[part].astype(np.int64) << bit
    sheet = _sheet_table()
    keys = []
    for p, q in ((0, 0), (1, 0), (1, 1), (0, 1)):  # which side of the cell the edge is on, along the two other axes
        offset = np.zeros((len(nodes), 3), dtype=np.int64)
        rows = np.arange(len(nodes))
        offset[rows, (axes + 1) % 3], offset[rows, (axes + 2) % 3] = p, q
        cells = nodes - offset
        local = axes * 4 + 2 * p + q
        number = np.ravel_multi_index(tuple(cells.T), inside.shape)
        keys.append(number * 4 + sheet[case[tuple(cells.T)], local])
    return np.stack(keys, axis=1)


@lru_cache(maxsize=1)
def _sheet_table() -> np.ndarray:
    """(256, 12) which sheet of a cell an edge belongs to; edge ``4 a + 2 p + q`` runs along axis a at (p, q)."""
    table = np.zeros((256, 12), dtype=np.int64)
    for case in range(256):
        inside = np.array([(case >> bit) & 1 for bit in range(8)]).reshape(2, 2, 2)
        group = list(range(12))
        for axis in range(3):
            for side in (0, 1):
                for first, second in _joined(np.take(inside, side, axis), axis, side):
                    old, new = group[first], group[second]
                    group = [new if g == old else g for g in group]
        used = {g: i for i, g in enumerate(dict.fromkeys(g for e, g in enumerate(group) if _changes(inside, e)))}
        table[case] = [used.get(g, 0) for g in group]
    return table


def _ends(edge: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    axis, p, q = edge // 4, edge // 2 % 2, edge % 2
    start = [0, 0, 0]
    start[(axis + 1) % 3], start[(axis + 2) % 3] = p, q
    end = list(start)
    end[axis] = 1
    return tuple(start), tuple(end)


def _changes(inside: np.ndarray, edge: int) -> bool:
    start, end = _ends(edge)
    return bool(inside[start] != inside[end])


def _joined(face: np.ndarray, axis: int, side: int) -> list[tuple[int, int]]:
    """Pairs of crossed edges of a cell's face between which the surface runs; inside corners stay apart."""
    others = [a for a in range(3) if a != axis]

    def edge(a: int, at: tuple[int, int]) -> int:
        """The edge of the face that runs along axis `a` through corner `at` (coordinates along `others`)."""
        place = [0, 0, 0]
        place[axis] = side
        place[others[0]], place[others[1]] = at
        return 4 * a + 2 * place[(a + 1) % 3] + place[(a + 2) % 3]

    corners = [(0, 0), (0, 1), (1, 0), (1, 1)]
    own = {c: (edge(others[0], c), edge(others[1], c)) for c in corners}
    count = int(face.sum())
    if count in (0, 4):
        return []
    if count == 2 and face[0, 0] != face[1, 1]:  # two neighbours: the crossings lie on opposite edges
        along = others[0] if face[0, 0] != face[1, 0] else others[1]
        return [(edge(along, (0, 0)), edge(along, (1, 1)))]
    lone = face == (1 if count <= 2 else 0)
    return [own[c] for c in corners if lone[c]]


def _feature_points(
    points: np.ndarray, normals: np.ndarray, corners: np.ndarray, centre: np.ndarray, cell: float
) -> np.ndarray:
    """Where the tangent planes of each sheet's crossings meet best; its mean crossing in directions they leave open."""
    count = len(centre)
    flat = corners.T.ravel()
    gather = lambda x: np.stack([np.bincount(flat, np.tile(c, 4), count) for c in x.reshape(len(x), -1).T], axis=1)  # noqa: E731
    mean = gather(points) / np.bincount(flat, minlength=count)[:, None]
    outer = gather(normals[:, :, None] * normals[:, None, :]).reshape(-1, 3, 3)
    # In coordinates about the mean, for the sake of float64's last digits.
    offset = gather(normals * (normals * points).sum(axis=1, keepdims=True)) - np.einsum("nij,nj->ni", outer, mean)
    size, axes = np.linalg.eigh(outer)
    inverse = np.where(size > FLAT * size[:, -1:], 1 / np.maximum(size, 1e-12), 0)
    move = np.einsum("nij,nj,nkj,nk->ni", axes, inverse, axes, offset)
    found = mean + move
    outside = (np.abs(found - centre) > 0.5 * cell).any(axis=1)
    found[outside] = np.clip(found[outside], (centre - 0.5 * cell)[outside], (centre + 0.5 * cell)[outside])
    return found


def _split(vertices: np.ndarray, quads: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Two triangles a quad, folded along the sharp edge if one runs through it.

    Then one triangle lies in the very plane that the grid edge met; with the other diagonal both lean.
    """
    options = [quads[:, [0, 1, 2, 0, 2, 3]], quads[:, [1, 2, 3, 1, 3, 0]]]
    scores = []
    for option in options:
        a, b, c = vertices[option.reshape(-1, 2, 3)].transpose(2, 0, 1, 3)
        facing = np.cross(b - a, c - a)
        facing = facing / np.maximum(np.linalg.norm(facing, axis=-1, keepdims=True), 1e-30)
        along = np.einsum("nti,ni->nt", facing, normals)
        scores.append(along.max(axis=1) + 0.1 * along.min(axis=1))
    return np.where((scores[0] >= scores[1])[:, None], *options).reshape(-1, 3)
