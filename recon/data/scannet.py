"""ScanNet, three ways: fused scans, posed RGB-D recordings, and O2-Recon's views of single objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal, Unpack

import torch

from recon.data.base import ReconDataModule, Shared, folder
from recon.data.loading import Draw, Split
from recon.data.scannet_fused import draw_points, has_normals, is_fused, load_fused, read_fused
from recon.data.scannet_objects import is_object, load_object
from recon.data.scannet_recording import is_recording
from recon.data.scannet_truth import scan_mesh
from recon.data.scannet_views import LABELS, Choice, Labels, Size, fused_cloud, read_views, room_of
from recon.errors import ConfigError
from recon.io.meshes import read_mesh
from recon.io.splits import read_list
from recon.observations import OrientedPoints, Points, PosedRGBD, PosedViews, Scene, Truth

Kind = Literal["fused", "sequence", "o2recon"]
KINDS: dict[Kind, Callable[[Path], bool]] = {"o2recon": is_object, "sequence": is_recording, "fused": is_fused}
GRIDS: dict[str, Size] = {"depth": "depth", "color": "color"}


class ScanNet(ReconDataModule):
    """Rooms of ScanNet (Dai et al., 2017), or anything laid out like them; each folder in `path` is a scene.

    - ``fused``: points of a fused scan in the unit cube, y up, as ALTO evaluates them (see `scannet_fused`).
    - ``sequence``: frames of a recording (.sens, or exported folders), in metres; points are their fused cloud.
    - ``o2recon``: O2-Recon's published views of an object (see `scannet_objects`).

    ``scannetv2_<split>.txt`` or ``<split>.lst`` in `path` say which scenes a split has; without them it has all.

    Args:
        path: folder of the scenes, or one scene.
        kind: what to read; ``auto`` looks what is there.
        every: sequence: take one frame in so many.
        max_frames: sequence: of those, at most so many, spread evenly; null takes all.
        size: sequence: pixel grid of all images: that of ``depth``, of ``color``, or [height, width].
        labels: sequence: label images to read where there are some: ``instance``, ``semantic`` or null.
        voxel: sequence, o2recon: side of the voxels of the fused cloud, in metres.
        far: sequence, o2recon: depths beyond it are left out of the fused cloud, in metres.
        noise: fused: standard deviation of the points, in sides of the unit cube.
        samples: fused: points drawn on a scan, which are its truth; `points` of them are given.
        use_normals: give normals with points.
        fix_crop: o2recon: look depth and normals up where the crop of the colour images has put them.
        scans: o2recon: folder of ScanNet's scenes, whose annotations are the truth of the objects; null: no truth.
        shared: see `ReconDataModule`.
    """

    may_give = (PosedRGBD, PosedViews, OrientedPoints, Points)

    def __init__(
        self,
        path: str = "data/scannet",
        kind: Literal["auto", "fused", "sequence", "o2recon"] = "auto",
        every: int = 10,
        max_frames: int | None = None,
        size: str | Sequence[int] = "depth",
        labels: Labels = "instance",
        voxel: float = 0.02,
        far: float = 5.0,
        noise: float = 0.005,
        samples: int = 100_000,
        use_normals: bool = True,
        fix_crop: bool = False,
        scans: str | None = None,
        **shared: Unpack[Shared],
    ) -> None:
        shared.setdefault("points", 10_000)
        super().__init__(**shared)
        counts = (every, 1 if max_frames is None else max_frames, self.points, samples)
        if not all(map(_is_count, counts)) or min(voxel, far) <= 0 or noise < 0:
            raise ConfigError(
                "data: every, max_frames, points and samples are whole numbers above 0, voxel and far are positive, "
                "and noise is not negative."
            )
        _check_choice("kind", kind, ("auto", *KINDS))
        _check_choice("labels", labels, (None, *LABELS))
        self.path, self.asked = path, kind
        self.choice = Choice(every, max_frames, _checked_size(size), labels, torch.get_num_threads())
        self.voxel, self.far, self.noise, self.samples = voxel, far, noise, samples
        self.use_normals, self.fix_crop = use_normals, fix_crop
        self.scans = (
            None if scans is None else folder(scans, "data.scans", "Give the folder of ScanNet's scenes, or null.")
        )
        self._latest: tuple[tuple[str, type | None], Scene] | None = None

    @cached_property
    def found(self) -> tuple[Kind, dict[str, Path]]:
        """The kind of the data, and the folders of all scenes by name.

        Raises:
            ConfigError: if there are none.
        """
        root = folder(
            self.path,
            "data=scannet",
            "ScanNet is given on request (http://www.scan-net.org, over 1 TB whole): give the folder of your scenes "
            "as data.path=FOLDER. Or make some: recon prepare data=scannet source=shapes data.path=FOLDER.",
        )
        folders = {root.resolve().name: root} | {f.name: f for f in sorted(root.iterdir()) if f.is_dir()}
        for kind in KINDS if self.asked == "auto" else [self.asked]:
            scenes = {name: place for name, place in folders.items() if KINDS[kind](place)}
            if scenes:
                return kind, scenes
        wanted = "scans, recordings or objects" if self.asked == "auto" else f"scenes of kind '{self.asked}'"
        raise ConfigError(f"data=scannet: '{root}' holds no {wanted}.", "Give the folder of the scenes as data.path.")

    @property
    def gives(self) -> tuple[type, ...]:
        """Posed images and points, or points alone where there are only fused scans."""
        kind, scenes = self.found
        oriented = self.use_normals and (kind != "fused" or has_normals(next(iter(scenes.values()))))
        points = (OrientedPoints, Points) if oriented else (Points,)
        return points if kind == "fused" else (PosedRGBD, PosedViews, *points)

    @property
    def wanted(self) -> type:
        """The observation type to give."""
        return self.observation or self.gives[0]

    def names(self, split: Split = "test") -> Sequence[str]:
        """Names of the scenes' folders, sorted."""
        _, scenes = self.found
        for file in (Path(self.path).expanduser() / name for name in (f"scannetv2_{split}.txt", f"{split}.lst")):
            if file.is_file():
                return [name for name in read_list(file) if name in scenes]
        return list(scenes)

    def load(self, name: str, split: Split = "test") -> Scene:
        """A scene in metres (fused: in the unit cube, with the frame to metres), and the scan as its truth."""
        self.check_scene(name, split)
        if self._latest is None or self._latest[0] != (name, self.wanted):
            kind, scenes = self.found
            read = {"fused": self._fused, "sequence": self._sequence, "o2recon": self._object}[kind]
            self._latest = (name, self.wanted), read(scenes[name], name)
        return replace(self._latest[1], index=list(self.names(split)).index(name))

    def item(self, name: str, split: Split, draw: Draw) -> Scene:
        """`points` of a fused scan with noise, in its unit cube; of a recording, of its normalised fused cloud."""
        kind, scenes = self.found
        if kind != "fused":
            return super().item(name, split, draw)
        fused = read_fused(scenes[name], self.samples, self.seed)
        return Scene(self._plain(draw_points(fused, name, self.points, self.noise, draw.rng())))

    def _fused(self, place: Path, name: str) -> Scene:
        scene = load_fused(place, name, self.points, self.noise, self.samples, self.seed)
        assert isinstance(scene.observation, Points)
        return replace(scene, observation=self._plain(scene.observation))

    def _sequence(self, place: Path, name: str) -> Scene:
        views, dropped = read_views(place, name, self.choice)
        file = scan_mesh(place)
        return Scene(
            self._points(views) if issubclass(self.wanted, Points) else replace(views, region=room_of(views)),
            None if file is None else Truth(read_mesh(file)),
            skipped=tuple((f"{name}, frame {number}", "its pose is not known") for number in dropped),
        )

    def _object(self, place: Path, name: str) -> Scene:
        scene = load_object(place, name, self.fix_crop, self.scans)
        assert isinstance(scene.observation, PosedRGBD)
        return replace(scene, observation=self._points(scene.observation)) if issubclass(self.wanted, Points) else scene

    def _points(self, views: PosedRGBD) -> Points:
        cloud = fused_cloud(views, self.voxel, self.far, self.wanted is OrientedPoints)
        return Points.from_cloud(cloud, views.name)

    def _plain(self, points: Points) -> Points:
        """Without normals, where they are not wanted."""
        if self.wanted is OrientedPoints or not isinstance(points, OrientedPoints):
            return points
        return Points(points.points, points.frame, points.name)


def _checked_size(size: str | Sequence[int]) -> Size:
    if isinstance(size, str) and size in GRIDS:
        return GRIDS[size]
    if isinstance(size, str) or len(size) != 2 or not all(map(_is_count, size)):
        raise ConfigError(f"data.size={size}: this is no size of images.", "Give depth, color or [height,width].")
    return int(size[0]), int(size[1])


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value > 0


def _check_choice(option: str, value: object, known: Sequence[str | None]) -> None:
    if value not in known:
        names = ", ".join("null" if name is None else name for name in known)
        raise ConfigError(f"data.{option}={value}: there is no such {option}.", f"Known: {names}.")
