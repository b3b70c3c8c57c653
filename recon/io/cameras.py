"""Camera files as they are: ``cameras.npz`` of IDR, DVR, NeuS and their heirs; Iso-Points' ``data_dict.npz``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recon.errors import DataError
from recon.io.files import atomic
from recon.io.npz import Npz
from recon.io.pickles import Plain, read_pickled_npz


@dataclass(frozen=True)
class CameraMatrices:
    """The matrices of a ``cameras.npz``, by the views' numbers.

    Attributes:
        numbers: of the views, ascending.
        world: (V, 4, 4) ``world_mat``: world to pixels, centres at integers (IDR), or to what `unit` wants (DVR).
        scale: (V, 4, 4) ``scale_mat``: from the unit sphere of what is of interest to the world; None if not there.
        unit: (V, 4, 4) ``camera_mat``: to image coordinates in [-1, 1]; None if not there.
    """

    numbers: tuple[int, ...]
    world: np.ndarray
    scale: np.ndarray | None = None
    unit: np.ndarray | None = None

    def of(self, numbers: Sequence[int]) -> CameraMatrices:
        """Those of some views, in that order."""
        rows = [self.numbers.index(number) for number in numbers]
        scale, unit = (None if m is None else m[rows] for m in (self.scale, self.unit))
        return CameraMatrices(tuple(numbers), self.world[rows], scale, unit)


def read_camera_npz(path: str | Path) -> CameraMatrices:
    """The matrices ``world_mat_N``, ``scale_mat_N`` and ``camera_mat_N`` of an .npz file; others are left alone.

    Raises:
        DataError: naming file and field if one is missing, damaged, of a wrong shape or not finite.
    """
    archive = Npz(path)
    numbers = _numbers(archive.names)
    if not numbers:
        raise DataError(
            f"'{path}': field 'world_mat_0': it is missing (there are: {', '.join(archive.names)[:80]}).",
            "Give the cameras.npz of IDR, DVR, NeuS or of what follows them.",
        )
    world, scale, unit = (_matrices(archive, key, numbers) for key in ("world_mat", "scale_mat", "camera_mat"))
    assert world is not None
    return CameraMatrices(numbers, world, scale, unit)


def _numbers(names: Iterable[str]) -> tuple[int, ...]:
    found = (re.fullmatch(r"world_mat_(0|[1-9]\d{0,8})", name) for name in names)
    return tuple(sorted(int(match[1]) for match in found if match))


def _matrices(archive: Npz, key: str, numbers: Sequence[int]) -> np.ndarray | None:
    if f"{key}_{numbers[0]}" not in archive:
        return None
    found = np.tile(np.eye(4), (len(numbers), 1, 1))
    for row, number in enumerate(numbers):
        matrix = archive.array(f"{key}_{number}").astype(np.float64)
        if matrix.shape not in ((3, 4), (4, 4)) or not np.isfinite(matrix).all():
            raise DataError(
                f"'{archive.path}': field '{key}_{number}': its shape is {matrix.shape}, or it is not finite.",
                "Give finite (4, 4) matrices.",
            )
        found[row, : len(matrix)] = matrix
    return found


@dataclass(frozen=True)
class Lights:
    """The lights of one view, in world coordinates.

    Attributes:
        kind: ``point`` or ``directional``.
        ambient: (A, 3) colours in [0, 1].
        diffuse: (L, 3) colours.
        specular: (L, 3) colours.
        place: (L, 3) where point lights are, or the directions of the others.
    """

    kind: str
    ambient: np.ndarray
    diffuse: np.ndarray
    specular: np.ndarray
    place: np.ndarray


@dataclass(frozen=True)
class DataDict:
    """The cameras and lights of Iso-Points' synthetic scenes.

    Attributes:
        view: (V, 4, 4) PyTorch3D's world to view, for row vectors.
        kind: of its camera classes, such as ``FoVPerspectiveCameras``.
        options: what that class is given.
        lights: of each view; empty if not known.
    """

    view: np.ndarray
    kind: str = "FoVPerspectiveCameras"
    options: dict[str, Any] = field(default_factory=dict)
    lights: tuple[Lights, ...] = ()


def read_data_dict(path: str | Path) -> DataDict:
    """The cameras and lights of a ``data_dict.npz``.

    What is pickled in it is read as data (see `recon.io.pickles`), and written once more beside it as text, where that
    folder may be written to, so that no pickle is read again.

    Raises:
        DataError: naming file and field, if something is missing or damaged.
    """
    path = Path(path)
    fields = _fields(path)
    view = fields.get("camera_mat")
    if not isinstance(view, np.ndarray) or view.ndim != 3 or view.shape[1:] != (4, 4) or not np.isfinite(view).all():
        raise DataError(
            f"'{path}': field 'camera_mat': it is missing, not (V, 4, 4), or not finite.",
            "Give the data_dict.npz of Iso-Points' synthetic scenes.",
        )
    options = _decoded(fields.get("cameras_params", {}), path, "cameras_params")
    kind = str(fields.get("cameras_type", "FoVPerspectiveCameras")).rsplit(".", 1)[-1]
    named = [f"lights_{number}" for number in range(len(view))]
    lit = all(name in fields for name in named)
    lights = tuple(_lights(_decoded(fields[name], path, name), path, name) for name in named) if lit else ()
    return DataDict(view.astype(np.float64), kind, options, lights)


def _fields(path: Path) -> dict[str, Plain]:
    """All fields, from the copy without pickle if there is one that is not older."""
    copy = path.with_name(f"{path.stem}_plain.npz")
    if copy.is_file() and path.is_file() and copy.stat().st_mtime_ns >= path.stat().st_mtime_ns:
        return read_pickled_npz(copy)
    fields = read_pickled_npz(path)
    if any(isinstance(value, dict | list) for value in fields.values()):
        plain = {
            name: value if isinstance(value, np.ndarray | str) else json.dumps(value, default=np.ndarray.tolist)
            for name, value in fields.items()
        }
        # Where the folder may not be written to, the next one to ask reads the pickle again.
        with suppress(DataError), atomic(copy) as temporary:
            np.savez(temporary, **plain)  # type: ignore[arg-type] # numpy types one keyword of its own
    return fields


def _decoded(value: Plain, path: Path, name: str) -> dict[str, Any]:
    """A dict, or what the JSON text of one says."""
    with suppress(ValueError, RecursionError):
        value = json.loads(value) if isinstance(value, str) else value
    if not isinstance(value, dict):
        raise DataError(f"'{path}': field '{name}': it holds no options by name.", "Give a dict, or JSON of one.")
    return value


def _lights(value: dict[str, Any], path: Path, name: str) -> Lights:
    kind = "point" if "location" in value else "directional"
    try:
        ambient, diffuse, specular, place = (
            np.asarray(value[key], dtype=np.float64).reshape(-1, 3)
            for key in (
                "ambient_color",
                "diffuse_color",
                "specular_color",
                "location" if kind == "point" else "direction",
            )
        )
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise DataError(
            f"'{path}': field '{name}': it describes no lights ({error}).", "Give 3 numbers a colour and a place."
        ) from error
    return Lights(kind, ambient, diffuse, specular, place)
