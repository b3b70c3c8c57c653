"""What is known of DTU's scans beside their photographs: stereo clouds, and the structured-light truth."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat, whosmat

from recon.data.base import folder
from recon.errors import DataError
from recon.io.arrays import DEFLATE_RATIO
from recon.io.meshes import read_geometry
from recon.observations import ObservedTruth, Truth

CELLS = 1 << 30  # of an ObsMask; DTU's have 3e7


def number_of(name: str) -> int | None:
    """The number in a scan's name, as 65 in ``scan65``."""
    found = re.search(r"scan_?0*(\d{1,6})", name.lower())
    return int(found[1]) if found else None


def cloud_of(name: str, place: Path, clouds: Path | None) -> Path | None:
    """The stereo cloud of a scan: ``scan65.ply`` or, as published, ``furu065_l3.ply``.

    Args:
        name: of the scan.
        place: its folder.
        clouds: folder of clouds; None looks for a folder ``furu`` in it and beside it.

    Raises:
        ConfigError: if `clouds` is given and there is no such folder.
    """
    if clouds is not None:
        folder(clouds, "data.clouds", "Give the folder of scan65.ply and its like.")
    number = number_of(name)
    names = [f"{name}.ply", *([f"scan{number}.ply", f"furu{number:03d}_l3.ply"] if number is not None else [])]
    places = [clouds] if clouds else [place / "furu", place.parent / "furu"]
    return next((p / n for p in places for n in names if (p / n).is_file()), None)


def truth_of(place: Path, name: str, truth: Path | None) -> Truth | None:
    """The true surface of a scan: DTU's, where its folder is given, else the mesh that a synthetic one came with.

    Args:
        place: the scan's folder.
        name: of the scan.
        truth: folder with DTU's ``Points/stl/stl065_total.ply``, ``ObsMask/ObsMask65_10.mat`` and
            ``ObsMask/Plane65.mat``, or all of them.

    Raises:
        ConfigError: if `truth` is given and there is no such folder.
        DataError: if it lacks the scan, or a file is damaged.
    """
    if truth is None:
        mesh = next((f for f in (place / "mesh.ply", place / "mesh.obj") if f.is_file()), None)
        return None if mesh is None else Truth(read_geometry(mesh))
    folder(truth, "data.truth", "Give the folder of DTU's SampleSet with Points and ObsMask.")
    number = number_of(name)
    if number is None:
        raise DataError(f"'{name}': this name has no number of DTU's.", "Name the scan's folder as scan65.")
    cloud = _find(truth, f"stl{number:03d}_total.ply", ("Points/stl", "stl", "."))
    mask = _find(truth, f"ObsMask{number}_10.mat", ("ObsMask", "."))
    plane = _find(truth, f"Plane{number}.mat", ("ObsMask", "."), needed=False)
    assert cloud is not None
    assert mask is not None
    observed, box, resolution = read_observed(mask)
    return ObservedTruth(
        read_geometry(cloud),
        observed=observed,
        box=box,
        resolution=resolution,
        plane=None if plane is None else read_plane(plane),
    )


def read_observed(path: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """DTU's ``ObsMask``: (X, Y, Z) bool cells in which the truth is complete, their (2, 3) box, and their side.

    Raises:
        DataError: naming file and field.
    """
    fields = _mat(path, ("ObsMask", "BB", "Res"))
    observed, box, side = fields["ObsMask"], fields["BB"], fields["Res"]
    if observed.ndim != 3 or box.shape != (2, 3) or side.size != 1 or not np.isfinite(box).all() or not side.item() > 0:
        raise DataError(
            f"'{path}': its fields 'ObsMask', 'BB', 'Res' have shapes {observed.shape}, {box.shape}, {side.shape}.",
            "Give the files of DTU's SampleSet.",
        )
    return observed.astype(bool), box.astype(np.float64), float(side.item())


def read_plane(path: Path) -> np.ndarray:
    """(4,) a, b, c, d: points with ax + by + cz + d <= 0 lie below the table.

    Raises:
        DataError: naming file and field.
    """
    plane = np.ravel(_mat(path, ("P",))["P"]).astype(np.float64)
    if plane.shape != (4,) or not np.isfinite(plane).all():
        raise DataError(
            f"'{path}': field 'P': it is no plane of 4 finite numbers.", "Give the files of DTU's SampleSet."
        )
    return plane


def _find(truth: Path, name: str, places: tuple[str, ...], needed: bool = True) -> Path | None:
    found = next((truth / place / name for place in places if (truth / place / name).is_file()), None)
    if found is None and needed:
        raise DataError(
            f"data.truth={truth}: there is no '{places[0]}/{name}'.",
            "Give the folder of DTU's SampleSet with Points and ObsMask.",
        )
    return found


def _mat(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Arrays of a MATLAB file."""
    try:
        shapes = {name: shape for name, shape, _ in whosmat(path)}
        missing = [name for name in names if name not in shapes]
        if missing:
            raise ValueError(f"field '{missing[0]}' is missing")
        most = min(CELLS, DEFLATE_RATIO * path.stat().st_size)
        if any(np.prod(shapes[name], dtype=np.float64) > most for name in names):
            raise ValueError("it announces more than it can hold")
        fields = loadmat(path, variable_names=list(names))
        for name in names:
            if not isinstance(fields[name], np.ndarray) or fields[name].dtype.kind not in "biuf":
                raise ValueError(f"field '{name}' holds no numbers")
    # SciPy's reader raises whatever it stumbles over: struct.error, zlib.error, KeyError, MatReadError, ...
    except Exception as error:
        raise DataError(f"'{path}': this MATLAB file cannot be read ({error}).", "Download it again.") from error
    return fields
