"""COLMAP models with their photographs and sparse points.

COLMAP counts pixels as we do: the centre of the first one is at 0.5.
"""

from __future__ import annotations

from pathlib import Path

from recon.errors import DataError
from recon.io.captures import Capture, Shot, inverse, parsed, told
from recon.io.colmap_files import (
    Camera,
    Image,
    parse_cameras,
    parse_cameras_text,
    parse_images,
    parse_images_text,
    parse_points,
    parse_points_text,
)
from recon.io.parsing import FormatError

PLACES = (".", "sparse/0", "sparse", "colmap/sparse/0", "dense/sparse", "dense/0/sparse")


def find_model(folder: Path) -> Path | None:
    """The folder that holds the model's files: `folder` itself, or where COLMAP's tools put them."""
    for place in PLACES:
        for suffix in (".bin", ".txt"):
            if all((folder / place / f"{stem}{suffix}").is_file() for stem in ("cameras", "images")):
                return folder / place
    return None


def read_colmap(folder: str | Path, images: str | Path | None = None) -> Capture:
    """A model with its photographs and sparse points.

    Args:
        folder: of a model, or of a project that holds one (``sparse/0``, ``dense/sparse`` and their like).
        images: where the photographs lie; None looks for ``images`` beside the model and above it.

    Raises:
        DataError: if files are missing or damaged, or a lens is not supported.
    """
    folder = Path(folder)
    model = find_model(folder)
    if model is None:
        raise DataError(
            f"'{folder}': no COLMAP model is here (cameras and images, as .bin or .txt).",
            "Give the folder of the model, or the one that holds 'sparse' and 'images'.",
        )
    suffix = ".bin" if (model / "cameras.bin").is_file() and (model / "images.bin").is_file() else ".txt"
    cameras = parsed(model / f"cameras{suffix}", parse_cameras if suffix == ".bin" else parse_cameras_text)
    registered = parsed(model / f"images{suffix}", parse_images if suffix == ".bin" else parse_images_text)
    points = model / f"points3D{suffix}"
    sparse = parsed(points, parse_points if suffix == ".bin" else parse_points_text) if points.is_file() else None
    place = Path(images) if images else _photographs(folder, model, registered)
    with told(model):
        shots = _shots(cameras, registered, place)
    return Capture(shots, sparse if sparse is not None and len(sparse) else None)


def _shots(cameras: dict[int, Camera], registered: list[Image], place: Path) -> tuple[Shot, ...]:
    shots = []
    for image in registered:
        camera = cameras.get(image.camera)
        if camera is None:
            raise FormatError(f"image '{image.name}' names camera {image.camera}, which is not among the cameras")
        what = f"camera {image.camera}"
        pose, size = inverse(image.world_to_camera), (camera.width, camera.height)
        shots.append(Shot(place / image.name, camera.intrinsics(what), pose, size, camera.distortion(what)))
    return tuple(shots)


def _photographs(folder: Path, model: Path, registered: list[Image]) -> Path:
    """The folder under which the first photograph lies; image names may hold folders."""
    above = [model, *list(model.resolve().parents)[:3]]
    if folder not in above:
        above.insert(0, folder)
    places = [base / name for base in above for name in ("images", "rgb", "input", ".")]
    found = next((p for p in places if (p / registered[0].name).is_file()), None)
    if found is None:
        raise DataError(
            f"'{model}': its photographs are not beside it ('{registered[0].name}' was looked for).",
            "Put them into a folder 'images' beside 'sparse', or link it there.",
        )
    return found
