"""What ``input=`` means: a scan, a recording of posed photographs, plain photographs, or many of these."""

from __future__ import annotations

import glob
from collections import Counter
from pathlib import Path

from recon.data.posed import reader_of
from recon.errors import DataError
from recon.io.images import IMAGES, image_files
from recon.io.meshes import READERS

LISTED = set(READERS) - {".txt"}  # of a folder; its text files are more often notes than scans


def is_photographs(path: Path) -> bool:
    """Whether a path is an image, or a folder that holds images and neither scans nor cameras."""
    if path.is_file():
        return path.suffix.lower() in IMAGES
    return path.is_dir() and reader_of(path) is None and not _scans(path) and bool(image_files(path))


def is_recording(path: Path) -> bool:
    """Whether a path is a recording of posed photographs of a known format."""
    return reader_of(path) is not None


def shots_of(files: list[Path], pattern: str) -> list[Path]:
    """Of what `find` found: all of them, if a glob named several images, for these show one object; else none."""
    by_glob = not pattern.startswith("@") and not Path(pattern).expanduser().exists()
    return files if by_glob and len(files) > 1 and all(f.suffix.lower() in IMAGES for f in files) else []


def find(pattern: str) -> list[Path]:
    """The files and folders that an ``input=`` means, each of them one scene, sorted.

    Photographs that a glob names are one scene together, see `shots_of`.

    Args:
        pattern: a file, a folder, a glob, or ``@`` and a file that lists paths (relative ones from where it lies).

    Raises:
        DataError: if there are none.
    """
    path = Path(pattern).expanduser()
    if pattern.startswith("@") and not path.exists():
        return _listed(Path(pattern[1:]).expanduser())
    if path.exists():
        found = [path] if path.is_file() or is_recording(path) or is_photographs(path) else _inside(path)
    else:
        # Only now: names may hold brackets and stars of their own.
        found = [f for f in sorted(map(Path, glob.glob(str(path), recursive=True))) if _is_scene(f)]
    if not found:
        raise DataError(
            f"input={pattern}: there is no such file.",
            f"Files of these formats are read: {' '.join(READERS)}. So are folders of photographs, COLMAP models, "
            "transforms.json, Middlebury's *_par.txt, and RGB-D frames with poses.",
        )
    return found


def _inside(folder: Path) -> list[Path]:
    """A folder's scans; if there are none, those of its folders that are recordings."""
    return _scans(folder) or sorted(f for f in folder.iterdir() if f.is_dir() and _is_scene(f))


def _scans(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.is_file() and f.suffix.lower() in LISTED)


def _is_scene(path: Path) -> bool:
    return path.is_file() or is_recording(path) or is_photographs(path)


def _listed(path: Path) -> list[Path]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"input=@{path}: this list cannot be read ({error}).", "Give a text file, a path a line."
        ) from error
    named = [path.parent / Path(line.strip()).expanduser() for line in lines if line.strip() and line[0] != "#"]
    if not named:
        raise DataError(f"input=@{path}: this list is empty.", "Give a text file with one path a line.")
    missing = [f for f in named if not (f.is_file() or is_recording(f) or is_photographs(f))]
    if missing:
        raise DataError(
            f"input=@{path}: '{missing[0]}' is not there ({len(missing)} of {len(named)} are missing).",
            "Give paths relative to the list's own folder, or absolute ones.",
        )
    return named


def named(files: list[Path]) -> dict[str, Path]:
    """Files by a name fit for a folder: the stem where no other file has it, else as much more as is needed."""
    choices = [
        [f.stem for f in files],
        [f.name.replace(".", "_") for f in files],
        [f"{f.parent.name}_{f.stem}" for f in files],
        [f"{f.stem}_{number}" for number, f in enumerate(files)],
    ]
    counts = [Counter(names) for names in choices]
    named: dict[str, Path] = {}
    for i, file in enumerate(files):
        fit = (names[i] for names, count in zip(choices, counts, strict=True) if count[names[i]] == 1)
        named[next(name for name in fit if name not in named)] = file
    return named
