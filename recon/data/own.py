"""One's own data: a file, a folder, a glob or a list of scans."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Unpack

from recon.data.base import Shared
from recon.data.loading import Split
from recon.data.reading import Scans, read_scan
from recon.errors import ConfigError, DataError
from recon.io.meshes import READERS, read_geometry
from recon.observations import Scene, Truth

LISTED = set(READERS) - {".txt"}  # of a folder; its text files are more often notes than scans


class Own(Scans):
    """Your own scans, each file a scene named after it.

    A mesh given where points are needed is sampled, which is said, and is then the truth if no other is given.

    Args:
        input: a file; a folder; a glob such as ``'scans/**/*.ply'``; or ``@list.txt``, a file with one path a line.
        truth: the true surface (a mesh, or a dense cloud) of the one input; for several, a folder of files of the
            same names. Null where it is not known.
        on_bad_points: what to do with points that are not finite or have normals without direction: ``raise`` an
            error, or ``drop`` them. Those of .pcd files mean "nothing measured" and are always dropped.
        use_normals: use the normals of files that have them.
        samples: points drawn on a mesh that was given where points are needed.
        shared: see `ReconDataModule`.
    """

    def __init__(
        self,
        input: str | None = None,  # noqa: A002 - the name of the option
        truth: str | None = None,
        on_bad_points: Literal["raise", "drop"] = "raise",
        use_normals: bool = True,
        samples: int = 100_000,
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        if input is None:
            raise ConfigError("data=own: no input was given.", "Add input=FILE (or a folder, a glob, or @list.txt).")
        self.files = _named(find(str(input)))
        self.truth = None if truth is None else Path(truth).expanduser()
        self.on_bad_points: Literal["raise", "drop"] = on_bad_points
        self.use_normals, self.samples = use_normals, samples

    def names(self, split: Split = "test") -> Sequence[str]:
        """Every scan is in every split: nothing is known that would part them."""
        return list(self.files)

    def read(self, name: str) -> Scene:
        points, itself = read_scan(
            self.files[name], name, self.on_bad_points, self.use_normals, self.samples, self.seed
        )
        return Scene(points, self._truth(name) or itself, list(self.files).index(name))

    def _truth(self, name: str) -> Truth | None:
        if self.truth is None:
            return None
        if not self.truth.is_dir():
            if len(self.files) > 1:
                raise ConfigError(
                    f"truth={self.truth}: one file cannot be the truth of {len(self.files)} scans.",
                    "Give a folder of files with the names of the inputs.",
                )
            return Truth(read_geometry(self.truth))
        stem = self.files[name].stem
        if Path(stem).suffix.lower() in READERS:  # scan.xyz.npy, as Points2Surf and its heirs name them
            stem = Path(stem).stem
        found = [f for f in sorted(self.truth.iterdir()) if f.stem == stem and f.suffix.lower() in LISTED]
        if not found:
            raise DataError(f"'{self.truth}' holds no truth named '{stem}'.", "Name each truth as its input.")
        return Truth(read_geometry(found[0]))


def find(pattern: str) -> list[Path]:
    """The files that an ``input=`` means, sorted.

    Args:
        pattern: a file, a folder, a glob, or ``@`` and a file that lists paths (relative ones from where it lies).

    Raises:
        DataError: if there are none.
    """
    path = Path(pattern).expanduser()
    if pattern.startswith("@") and not path.exists():
        return _listed(Path(pattern[1:]).expanduser())
    if path.is_dir():
        found = sorted(f for f in path.iterdir() if f.is_file() and f.suffix.lower() in LISTED)
    elif path.exists():
        return [path]
    else:
        # Only now: names may hold brackets and stars of their own.
        found = sorted(Path(f) for f in glob.glob(str(path), recursive=True) if Path(f).is_file())
    if not found:
        raise DataError(
            f"input={pattern}: there is no such file.", f"Files of these formats are read: {' '.join(READERS)}."
        )
    return found


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
    missing = [f for f in named if not f.is_file()]
    if missing:
        raise DataError(
            f"input=@{path}: '{missing[0]}' is not there ({len(missing)} of {len(named)} are missing).",
            "Give paths relative to the list's own folder, or absolute ones.",
        )
    return named


def _named(files: list[Path]) -> dict[str, Path]:
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
