"""One's own data: scans, posed photographs, RGB-D recordings or plain photographs; what is there decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Literal, Unpack

import numpy as np
import torch

from recon.data.base import Shared
from recon.data.inputs import LISTED, find, is_photographs, is_recording, named, shots_of
from recon.data.loading import Split
from recon.data.pictures import Picture, at_size, one_size, read_mask, stacked
from recon.data.posed import Choice, read_fused, read_posed, reader_of
from recon.data.reading import Scans, read_scan
from recon.errors import ConfigError, DataError
from recon.io.captures import Capture
from recon.io.images import image_files, read_image
from recon.io.meshes import READERS, read_geometry
from recon.observations import Observation, OrientedPoints, Points, PosedRGBD, PosedViews, Scene, Truth, Views


class Own(Scans):
    """Your own data; each file, or folder of photographs, is a scene named after it.

    A scan gives points; a mesh given where points are needed is sampled, which is said, and is then the truth if no
    other is given. A COLMAP model, a ``transforms.json`` and Middlebury's ``*_par.txt`` give posed views. RGB-D frames
    with poses give these with depth, and points: all frames fused, with normals towards the cameras. A folder of
    photographs without cameras, or a glob of them, gives views of one object.

    Args:
        input: a file; a folder; a glob such as ``'scans/**/*.ply'``; or ``@list.txt``, a file with one path a line.
        truth: the true surface (a mesh, or a dense cloud) of the one input; for several, a folder of files of the
            same names. Null where it is not known.
        on_bad_points: what to do with points that are not finite or have normals without direction: ``raise`` an
            error, or ``drop`` them. Those of .pcd files mean "nothing measured" and are always dropped.
        use_normals: use the normals of files that have them.
        samples: points drawn on a mesh that was given where points are needed.
        masks: folder of masks of photographs, named like them; null: those that the recording brings along, or alpha.
        downscale: shrink photographs by this factor, averaging.
        every: take every n-th photograph of a recording.
        max_views: take this many at most, evenly spaced; null: all.
        center: [x,y,z] of the sphere that holds what is of interest, in the units of the cameras; null: found from
            masks, depth, sparse points or the cameras. Points fused from RGB-D frames are then those inside it.
        radius: of that sphere.
        voxel: RGB-D frames are fused to a point a voxel of this side; null: a 250th of the radius of what they show.
        max_depth: depth beyond this is not used, for it is the noisiest; null: all.
        depth_unit: world units a count of the depth images; null: the format's own (0.001; 0.0002 for TUM).
        shared: see `ReconDataModule`.
    """

    may_give = (OrientedPoints, Points, PosedRGBD, PosedViews, Views)

    def __init__(
        self,
        input: str | None = None,  # noqa: A002 - the name of the option
        truth: str | None = None,
        on_bad_points: Literal["raise", "drop"] = "raise",
        use_normals: bool = True,
        samples: int = 100_000,
        masks: str | None = None,
        downscale: float = 1.0,
        every: int = 1,
        max_views: int | None = None,
        center: list[float] | None = None,
        radius: float | None = None,
        voxel: float | None = None,
        max_depth: float | None = None,
        depth_unit: float | None = None,
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        if input is None:
            raise ConfigError("data=own: no input was given.", "Add input=FILE (or a folder, a glob, or @list.txt).")
        found = find(str(input))
        self.shots = shots_of(found, str(input))
        self.files = (
            {self.shots[0].absolute().parent.name or "photographs": self.shots[0]} if self.shots else named(found)
        )
        self.truth = None if truth is None else Path(truth).expanduser()
        self.on_bad_points: Literal["raise", "drop"] = on_bad_points
        self.use_normals, self.samples = use_normals, samples
        self.choice = Choice(masks, downscale, every, max_views, center, radius, voxel, max_depth, depth_unit)
        self._captures: dict[str, Capture | None] = {}
        idle = [f.name for f in fields(Choice) if getattr(self.choice, f.name) != f.default]
        if idle and not any(is_recording(file) or is_photographs(file) for file in self.files.values()):
            raise ConfigError(
                f"data.{idle[0]}: it is about photographs; {input} has none.", f"Leave out data.{idle[0]}."
            )

    @property
    def gives(self) -> tuple[type, ...]:
        """What the first scene can be read as."""
        first = self.selected()[0]
        capture = self.capture(first)
        if capture is not None:
            if capture.has_depth:
                return (PosedRGBD, PosedViews, Views, OrientedPoints, Points)
            return (PosedViews, Views)
        return (Views,) if is_photographs(self.files[first]) else super().gives

    def use(self, observation: type, target: type | None = None) -> None:
        super().use(observation, target)
        if self._latest is not None and not isinstance(self._latest[1].observation, observation):
            self._latest = None

    def capture(self, name: str) -> Capture | None:
        """The cameras and files of a scene that is a recording; None for others."""
        if name not in self._captures:
            read = reader_of(self.files[name])
            self._captures[name] = None if read is None else read(self.files[name])
        return self._captures[name]

    def names(self, split: Split = "test") -> Sequence[str]:
        """Every scan is in every split: nothing is known that would part them."""
        return list(self.files)

    def read(self, name: str) -> Scene:
        observation, itself = self._observation(name)
        if self.observation is not None and not isinstance(observation, self.observation):
            raise DataError(
                f"'{self.files[name]}' is read as {type(observation).__name__}, not as {self.observation.__name__}.",
                "Give inputs of one kind together, or choose among them with data.scene=NAME.",
            )
        return Scene(observation, self._truth(name) or itself, list(self.files).index(name))

    def _observation(self, name: str) -> tuple[Observation, Truth | None]:
        file, capture = self.files[name], self.capture(name)
        if capture is not None:
            if self.observation is not None and issubclass(self.observation, Points) and capture.has_depth:
                return read_fused(capture, name, self.choice, self.use_normals), None
            return read_posed(capture, name, self.choice), None
        if is_photographs(file):
            return read_photographs(self.shots or photographs_of(file), name, self.choice), None
        return read_scan(file, name, self.on_bad_points, self.use_normals, self.samples, self.seed)

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


def photographs_of(path: Path) -> list[Path]:
    """An image, or all of a folder."""
    return [path] if path.is_file() else image_files(path)


def read_photographs(files: Sequence[Path], name: str, choice: Choice) -> Views:
    """Photographs of one object without cameras; transparent ones bring their mask along.

    Those of other shapes than the largest are padded, with mask 0.

    Raises:
        DataError: if one cannot be read, or has no mask in the folder of masks.
    """
    files = files[:: choice.every]
    if choice.max_views is not None and choice.max_views < len(files):
        files = [files[i] for i in np.linspace(0, len(files) - 1, choice.max_views).round().astype(int)]
    pictures = []
    for file in files:
        rgb, alpha = read_image(file)
        mask = None if alpha is None else torch.from_numpy(alpha)[None]
        if choice.masks is not None:
            mask = at_size(read_mask(_mask_of(file, Path(choice.masks).expanduser())), rgb.shape[:2], "nearest")
        picture = Picture(torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1))), np.eye(3), mask)
        pictures.append(picture.shrunk(choice.downscale))
    pictures = one_size(pictures)
    return Views(
        torch.stack([picture.rgb for picture in pictures]),
        stacked([picture.mask for picture in pictures], 255),
        name=name,
        view_names=tuple(file.stem for file in files),
    ).validated()


def _mask_of(file: Path, folder: Path) -> Path:
    """The mask of a photograph: ``NAME.png`` or ``NAME.jpg.png``, or another image of that stem."""
    if not folder.is_dir():
        raise DataError(f"data.masks={folder}: there is no such folder.", "Check the path.")
    known = {mask.stem: mask for mask in image_files(folder)}
    found = known.get(file.stem) or known.get(file.name)
    if found is None:
        raise DataError(f"'{folder}' holds no mask for '{file.name}'.", f"Name it {file.stem}.png.")
    return found
