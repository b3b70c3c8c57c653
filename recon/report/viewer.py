"""A mesh and its input as a few small buffers, for the viewer inside the report (assets/viewer.js).

Positions are 16-bit fractions of the bounding box, normals and colours bytes: a 150,000 face mesh is about 3.5 MB
of text, and coordinates of 5e6 lose nothing, as the box is subtracted in float64.
"""

from __future__ import annotations

import base64
import json
from html import escape
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from recon.geometry.cleanup import simplify
from recon.io.types import Cloud, Mesh
from recon.report.camera import Stage, Up
from recon.report.errormap import ErrorMap
from recon.report.shading import vertex_normals

MAX_FACES = 150_000
MAX_POINTS = 60_000


def simplified(mesh: Mesh, faces: int, colors: np.ndarray | None = None) -> tuple[Mesh, np.ndarray | None]:
    """A mesh of at most about `faces` faces, and the colours of its vertices taken from the nearest old ones."""
    if len(mesh.faces) <= faces:
        return mesh, colors
    vertices, triangles = simplify(mesh.vertices, mesh.faces, faces)
    if colors is not None:
        colors = colors[cKDTree(mesh.vertices).query(vertices)[1]]
    return Mesh(vertices, triangles), colors


def payload(
    mesh: Mesh,
    errors: ErrorMap | None = None,
    cloud: Cloud | None = None,
    up: Up = "y",
    max_faces: int = MAX_FACES,
    max_points: int = MAX_POINTS,
) -> dict[str, Any]:
    """Everything the viewer draws, as plain values that json takes.

    Args:
        mesh: the result, in any coordinates; vertices that are not finite go with their faces.
        errors: vertex errors, for a second colouring.
        cloud: the input, drawn as points.
        up: the world axis that points up.
        max_faces: larger meshes are simplified to about this many faces.
        max_points: larger clouds are thinned by a seeded draw.
    """
    mesh, rows = _finite(mesh)
    errors = None if errors is None else ErrorMap(errors.distances[rows], errors.unit, errors.top, errors.scale)
    own = None if mesh.colors is None else mesh.colors[:, :3]
    painted = [c for c in (own, errors.colors() if errors else None) if c is not None]
    shown, both = simplified(mesh, max_faces, np.concatenate(painted, axis=1) if painted else None)
    stage = Stage.around(shown, *([cloud] if cloud is not None else []), up=up)
    low, size = _box(stage, shown, cloud)
    packed: dict[str, Any] = {
        "up": up,
        "low": low.tolist(),
        "size": size,
        "faces_before": len(mesh.faces),
        "faces": len(shown.faces),
        "index": _packed(shown.faces.astype("<u4")),
        "position": _packed(_quantised(stage.to_local(shown.vertices), low, size)),
        "normal": _packed(_bytes(vertex_normals(shown.vertices - stage.centre, shown.faces))),
    }
    if own is not None and both is not None:
        packed["color"] = _packed(both[:, :3].astype(np.uint8))
    if errors is not None and both is not None:
        packed["error"] = _packed(both[:, -3:].astype(np.uint8))
    if cloud is not None:
        points = stage.to_local(_drawn(cloud, max_points))
        packed["points"] = _packed(_quantised(points, low, size))
    return packed


def viewer_html(mesh: Mesh, errors: ErrorMap | None = None, cloud: Cloud | None = None, up: Up = "y") -> str:
    """The canvas with its buttons and data; a sentence where there is nothing to show."""
    if mesh.is_empty:
        return '<p class="note">The mesh is empty: there is nothing to turn around.</p>'
    data = payload(mesh, errors, cloud, up)
    count = f"{data['faces']:,} faces".replace(",", "\N{NARROW NO-BREAK SPACE}")
    if data["faces"] < data["faces_before"]:
        before = f"{data['faces_before']:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
        count += f" (simplified from {before} for this page; the file on disk has them all)"
    modes = [("surface", "Surface"), ("wire", "Wireframe"), ("vertices", "Vertices")]
    buttons = "".join(
        f'<button type="button" data-mode="{key}" aria-pressed="{str(key == "surface").lower()}">{name}</button>'
        for key, name in modes
    )
    switches = ""
    if "error" in data:
        switches += '<label><input type="checkbox" data-switch="error" checked> Errors in colour</label>'
    if "points" in data:
        switches += '<label><input type="checkbox" data-switch="points"> Input points</label>'
    legend = "" if errors is None else legend_html(errors)
    # Only this script block's end could break out of it, and base64 and numbers hold no "<".
    return f"""<div class="viewer" data-state="waiting">
<div class="viewer-bar"><div class="segments" role="group" aria-label="How the mesh is drawn">{buttons}</div>{switches}
<button type="button" data-action="reset">Reset view</button></div>
<canvas tabindex="0" role="img" aria-label="Interactive 3D view of the mesh. Arrow keys turn it, plus and minus zoom,
shift with arrow keys moves it, R resets the view."></canvas>
<p class="viewer-sentence" hidden></p>
<div class="viewer-foot"><span class="note">{escape(count)}. Drag to turn, wheel or pinch to zoom, shift-drag to move;
or arrow keys, + and −, R.</span>{legend}</div>
<script type="application/json">{json.dumps(data)}</script></div>"""


def legend_html(errors: ErrorMap) -> str:
    """The colour scale of an error map as a small bar with its ends."""
    stops = ", ".join(f"rgb({r} {g} {b})" for r, g, b in errors.bar(12))
    low, high = errors.ends()
    bar = f'<i style="background:linear-gradient(to right, {stops})"></i>'
    return f'<span class="legend">{escape(low)}{bar}{escape(high)}</span>'


def _finite(mesh: Mesh) -> tuple[Mesh, np.ndarray]:
    """The faces whose vertices are finite, on the vertices they use, and the rows of those."""
    finite = np.isfinite(mesh.vertices).all(axis=1)
    faces = mesh.faces[finite[mesh.faces].all(axis=1)]
    rows, again = np.unique(faces, return_inverse=True)
    colors = None if mesh.colors is None else mesh.colors[rows]
    return Mesh(mesh.vertices[rows], again.reshape(-1, 3), colors=colors), rows


def _box(stage: Stage, mesh: Mesh, cloud: Cloud | None) -> tuple[np.ndarray, float]:
    """Lower corner and longest side of what is shown, in stage coordinates."""
    corners = stage.to_local(mesh.vertices)
    if cloud is not None:
        # Outliers of the input may be far away; two radii of them are enough.
        points = np.clip(stage.to_local(cloud.points[np.isfinite(cloud.points).all(axis=1)]), -2, 2)
        corners = np.concatenate([corners, points])
    low = corners.min(axis=0).astype(np.float64)
    return low, float((corners.max(axis=0) - low).max()) or 1.0


def _quantised(local: np.ndarray, low: np.ndarray, size: float) -> np.ndarray:
    return np.round((local - low) / size * 65535).clip(0, 65535).astype("<u2")


def _drawn(cloud: Cloud, count: int) -> np.ndarray:
    points = cloud.points[np.isfinite(cloud.points).all(axis=1)]
    if len(points) <= count:
        return points
    return points[np.random.default_rng(0).choice(len(points), count, replace=False)]


def _bytes(normals: np.ndarray) -> np.ndarray:
    return np.round(normals.clip(-1, 1) * 127).astype("i1")


def _packed(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
