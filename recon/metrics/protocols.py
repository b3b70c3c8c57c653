"""Evaluation protocols by name: how a prediction is compared with the truth, and what the numbers are called.

A protocol takes a prediction and a truth (each a mesh or a cloud, in the same coordinates) and a seed, and returns
one row of numbers. `recon` is the house's own; the others repeat published evaluations, so that their tables can
be compared with. A prediction without a surface gives a row too (see `recon.metrics.functional`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from recon.errors import ConfigError, DataError, did_you_mean
from recon.geometry.distance import MeshDistance
from recon.geometry.frames import Frame
from recon.geometry.sampling import Samples, face_normals_and_areas, sample_surface
from recon.io.types import Cloud, Mesh
from recon.metrics import functional as F
from recon.metrics import legacy
from recon.metrics.topology import topology, watertight
from recon.metrics.volume import mesh_occupancy_iou, volumetric_iou
from recon.metrics.walls import remove_walls
from recon.observations import Occupancies

Geometry = Mesh | Cloud
Row = dict[str, float]
Protocol = Callable[[Geometry, Geometry, int], Row]

SAMPLES = 50_000
ONET_SAMPLES = 100_000
UNIT_CUBE = ("onet", "onet_rooms", "alto")  # their lengths and thresholds are meant in the data's unit cube
SHARES = (0.005, 0.01, 0.02)


def evaluate(
    prediction: Geometry | None,
    truth: Geometry,
    protocol: str = "recon",
    seed: int = 0,
    *,
    occupancies: Occupancies | None = None,
    frame: Frame | None = None,
) -> Row:
    """One row of numbers for one item.

    Args:
        prediction: a mesh or cloud; None if there is none, which scores like an empty one.
        truth: a mesh or cloud in the same coordinates.
        protocol: a name in `PROTOCOLS`.
        seed: of the points drawn; protocols that fix their own ignore it.
        occupancies: points, in the same coordinates, of which it is known whether they are inside. The row's `iou` is
            then of these, in the protocols of `UNIT_CUBE` and, where the truth is a cloud, in `recon`.
        frame: from the data's own unit cube to the coordinates at hand. Protocols of `UNIT_CUBE` measure in it.

    Raises:
        ConfigError: if there is no such protocol.
        DataError: if the truth is empty or a coordinate is not finite.
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(f"There is no evaluation protocol '{protocol}'.", did_you_mean(protocol, PROTOCOLS))
    if not has_surface(truth):
        raise DataError("The truth is empty, so nothing can be compared with it.", "Give a truth that holds a surface.")
    found = Mesh.empty() if prediction is None or not has_surface(prediction) else prediction
    if frame is not None and protocol in UNIT_CUBE:
        found, truth = _seen_from(frame, found), _seen_from(frame, truth)
    row = PROTOCOLS[protocol](found, truth, seed)
    if occupancies is not None and isinstance(found, Mesh):
        row |= _known_iou(found, truth, occupancies, protocol, frame)
    return row


def _seen_from(frame: Frame, geometry: Geometry) -> Geometry:
    normals = None if geometry.normals is None else frame.normals_to_local(geometry.normals)
    if isinstance(geometry, Cloud):
        return Cloud(frame.to_local(geometry.points), normals)
    return Mesh(frame.to_local(geometry.vertices), geometry.faces, normals)


def _known_iou(found: Mesh, truth: Geometry, known: Occupancies, protocol: str, frame: Frame | None) -> Row:
    """The IoU at points whose occupancy is known, where the protocol wants it."""
    points, inside = known.points.cpu().double().numpy(), known.inside.cpu().numpy() >= 0.5
    if protocol in UNIT_CUBE:
        return {"iou": mesh_occupancy_iou(found, points if frame is None else frame.to_local(points), inside)}
    if protocol == "recon" and isinstance(truth, Cloud) and (found.is_empty or watertight(found)):
        return {"iou": mesh_occupancy_iou(found, points, inside)}
    return {}


def status(prediction: Geometry | None) -> str:
    """``"missing"``, ``"empty"`` or ``"ok"``, as tables and means count it."""
    if prediction is None:
        return "missing"
    return "ok" if has_surface(prediction) else "empty"


def has_surface(geometry: Geometry) -> bool:
    """Whether there is anything to compare: a point, or a face with an area.

    Raises:
        DataError: if a coordinate in use is not finite.
    """
    used = _corners(geometry)
    if not np.isfinite(used).all():
        kind = type(geometry).__name__.lower()
        raise DataError(f"A {kind} with coordinates that are not finite cannot be evaluated.", "Remove them first.")
    return len(used) > 0 if isinstance(geometry, Cloud) else float(face_normals_and_areas(geometry)[1].sum()) > 0


def recon(prediction: Geometry, truth: Geometry, seed: int = 0) -> Row:
    """The house's protocol: 50 000 points, uniform by area, on each mesh; clouds are taken as they are.

    Every score stands twice: between the points, and with suffix ``_exact`` from the points to the other mesh's
    triangles (NaN where the other side is a cloud). ``fscore_1pct`` has a threshold of 1 % of `size`, the longest
    side of the truth's box. Lengths are in the input's unit. `iou` is NaN unless both meshes are watertight.
    """
    predicted, true = _points_on(prediction, SAMPLES, seed), _points_on(truth, SAMPLES, seed + 1)
    size = float(np.ptp(_corners(truth), axis=0).max())
    sampled = F.cloud_distances(predicted.points, true.points, predicted.normals, true.normals)
    row = _scores(sampled, size)
    row |= {f"{name}_exact": value for name, value in _exact(prediction, truth, predicted, true, size).items()}
    row["iou"] = float("nan")
    if isinstance(prediction, Mesh) and isinstance(truth, Mesh):
        row["iou"] = volumetric_iou(prediction, truth, seed=seed)
    return row | _shape(prediction) | {"size": size}


def onet(prediction: Geometry, truth: Geometry, seed: int = 0) -> Row:
    """The evaluator of Occupancy Networks, ConvONet and ALTO: 100 000 points, uniform by area, with face normals.

    Thresholds of the F-scores are 0.010, 0.015 and 0.020 in the unit of the data (a unit cube). An empty
    prediction gives the originals' stand-ins (distance sqrt 3) and has no Chamfer-L1 and F-score. Where precision
    and recall are 0 the F-score is 0; the originals have NaN there. Volumetric IoU needs the data's own
    occupancies (see `evaluate`), and is of the whole mesh in rooms, too.
    """
    if isinstance(prediction, Mesh) and prediction.is_empty:
        return dict(_ONET_EMPTY)
    predicted, true = _points_on(prediction, ONET_SAMPLES, seed), _points_on(truth, ONET_SAMPLES, seed + 1)
    d = F.cloud_distances(predicted.points, true.points, predicted.normals, true.normals)
    cosines = (d.completeness_cosine, d.accuracy_cosine)
    to_prediction, to_truth = (float("nan") if c is None else float(c.mean()) for c in cosines)
    thresholds = np.linspace(1 / 1000, 1, 1000)
    return {
        "completeness": F.completeness(d),
        "accuracy": F.accuracy(d),
        "normals completeness": to_prediction,
        "normals accuracy": to_truth,
        "normals": (to_prediction + to_truth) / 2,
        "completeness2": float((d.completeness**2).mean()),
        "accuracy2": float((d.accuracy**2).mean()),
        "chamfer-L2": F.chamfer_l2(d),
        "chamfer-L1": F.chamfer_l1(d),
        "f-score": F.fscore(d, thresholds[9]),
        "f-score-15": F.fscore(d, thresholds[14]),
        "f-score-20": F.fscore(d, thresholds[19]),
    }


def onet_rooms(prediction: Geometry, truth: Geometry, seed: int = 0) -> Row:
    """`onet` for synthetic rooms, the outer sides of walls and floor left out (see `remove_walls`): no scan sees them.

    Coordinates are those of the rooms' files, y up.
    """
    if isinstance(prediction, Mesh) and not prediction.is_empty:
        seen = remove_walls(prediction, _corners(truth), ONET_SAMPLES, seed=seed)
        prediction = Cloud(seen.points, seen.normals) if len(seen.points) else Mesh.empty()
    return onet(prediction, truth, seed)


_ONET_EMPTY = {
    "completeness": np.sqrt(3).item(),
    "accuracy": np.sqrt(3).item(),
    "completeness2": 3.0,
    "accuracy2": 3.0,
    "chamfer": 6.0,
    "normals completeness": -1.0,
    "normals accuracy": -1.0,
    "normals": -1.0,
}


def _corners(geometry: Geometry) -> np.ndarray:
    """(N, 3) the points of a cloud, or the vertices of a mesh's faces."""
    return (
        geometry.points if isinstance(geometry, Cloud) else np.asarray(geometry.vertices)[geometry.faces].reshape(-1, 3)
    )


def _points_on(geometry: Geometry, count: int, seed: int) -> Cloud | Samples:
    if isinstance(geometry, Cloud):
        return geometry
    if geometry.is_empty:
        return Samples(np.zeros((0, 3)), np.zeros(0, dtype=np.int64), np.zeros((0, 3)))
    return sample_surface(geometry, count, seed)


def _scores(d: F.Distances, size: float) -> Row:
    row = F.scores(d)
    for share in SHARES:
        name = f"{share * 100:g}pct"
        row[f"precision_{name}"] = F.precision(d, share * size)
        row[f"recall_{name}"] = F.recall(d, share * size)
        row[f"fscore_{name}"] = F.fscore(d, share * size)
    return row


def _exact(
    prediction: Geometry, truth: Geometry, predicted: Cloud | Samples, true: Cloud | Samples, size: float
) -> Row:
    """Scores with exact point-to-surface distances, as far as there are surfaces."""
    if isinstance(prediction, Mesh) and isinstance(truth, Mesh):
        return _scores(F.surface_distances(prediction, truth, predicted, true), size)
    row = dict.fromkeys(_scores(F.Distances(np.zeros(0), np.zeros(0)), size), float("nan"))
    if isinstance(truth, Mesh):
        row["accuracy"] = float(MeshDistance(truth).query(predicted.points).distance.mean())
    elif isinstance(prediction, Mesh) and prediction.is_empty:
        row["completeness"] = float("inf")
    elif isinstance(prediction, Mesh):
        row["completeness"] = float(MeshDistance(prediction).query(true.points).distance.mean())
    return row


def _shape(prediction: Geometry) -> Row:
    """What the prediction is; NaN for a cloud."""
    names = ("watertight", "components", "boundary_edges", "nonmanifold_edges", "euler", "genus", "vertices", "faces")
    if isinstance(prediction, Cloud):
        return dict.fromkeys(names, float("nan"))
    counts = {name: float(getattr(topology(prediction), name)) for name in names[:6]}
    return counts | {"vertices": float(len(prediction.vertices)), "faces": float(len(prediction.faces))}


PROTOCOLS: dict[str, Protocol] = {
    "recon": recon,
    "onet": onet,
    "onet_rooms": onet_rooms,
    "alto": onet,
    "nnabla": legacy.nnabla,
    "nnabla_legacy": legacy.nnabla_legacy,
    "points2surf": legacy.points2surf,
}
