"""`prepare data=scannet`: synthetic RGB-D recordings of furnished rooms, or fused scans as ALTO evaluates them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Unpack

from recon.data.synthesis import scannet_synthetic
from recon.data.synthesis.catalogue import GENERATED, Catalogue, catalogue_of
from recon.data.synthesis.depth_sensor import DepthSensor
from recon.data.synthesis.factory import Factory, Item, Made, Shared
from recon.data.synthesis.normalise import Up
from recon.data.synthesis.scannet_fused import ScannetFused
from recon.data.synthesis.scannet_synthetic import Filming
from recon.data.synthesis.splits import SPLITS, split
from recon.errors import ConfigError
from recon.io.splits import write_list


class Scannet(Factory):
    """Scenes in ScanNet's layouts.

    ``kind=synthetic``: rooms of the source's objects (``source=shapes``: generated furniture), some of them half
    hidden by smaller ones, filmed by hand with a depth camera; surface, objects and poses are known exactly. See
    `recon.data.synthesis.scannet_synthetic`.
    ``kind=fused``: the source's scans as clouds in the unit cube. See `recon.data.synthesis.scannet_fused`.

    Args:
        scenes: synthetic: how many.
        frames: synthetic: of a recording.
        objects: synthetic: in a room.
        occluders: synthetic: smaller things put close beside some of them.
        room: synthetic: interval of its longer side, in metres.
        floor: synthetic: interval of the shorter side, in longer ones.
        height: synthetic: interval of the height of walls, in metres.
        edge: synthetic: interval of objects' longest sides, in metres.
        wall: synthetic: probability of each wall.
        eye: synthetic: height of the camera, in metres.
        color_size: synthetic: [height, width] of colour, instance and label images; ScanNet's are 968x1296.
        depth_size: synthetic: [height, width] of depth images.
        noise: synthetic: standard deviation of depth at 1 m; it grows with the square of depth.
        near: synthetic: less depth is missing.
        far: synthetic: more depth is missing.
        grazing: synthetic: degrees to the surface below which depth begins to fail.
        edges: synthetic: share of depth that fails beside jumps.
        spots: synthetic: share of depth that is missing in spots.
        lost: synthetic: share of frames whose pose is lost.
        detail: synthetic: longest edge of the mesh of floor and walls, in metres.
        sens: synthetic: write the recording as ``<scene>.sens``, too.
        up: synthetic: the axis of the meshes' files that points up.
        samples: fused: points drawn on a scan.
        half: fused: store float16, like the published files; else float32.
        shared: see `Factory`.
    """

    kinds: ClassVar[tuple[str, ...]] = ("synthetic", "fused")

    def __init__(
        self,
        scenes: int = 4,
        frames: int = 120,
        objects: int = 6,
        occluders: int = 3,
        room: Sequence[float] = (4.0, 6.0),
        floor: Sequence[float] = (0.65, 1.0),
        height: Sequence[float] = (2.3, 2.8),
        edge: Sequence[float] = (0.7, 1.6),
        wall: float = 1.0,
        eye: float = 1.5,
        color_size: Sequence[int] = (484, 648),
        depth_size: Sequence[int] = (480, 640),
        noise: float = 0.0015,
        near: float = 0.4,
        far: float = 6.0,
        grazing: float = 15.0,
        edges: float = 0.6,
        spots: float = 0.01,
        lost: float = 0.02,
        detail: float = 0.05,
        sens: bool = False,
        up: Up = "y",
        samples: int = 100_000,
        half: bool = True,
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        if min(scenes, frames, objects) < 1 or min(*color_size, *depth_size) < 8:
            raise ConfigError("prepare: scenes, frames, objects and the sizes of images are too small.", "")
        self.scenes, self.frames, self.objects, self.occluders = scenes, frames, objects, occluders
        self.room, self.floor, self.height, self.edge, self.wall = room, floor, height, edge, wall
        self.eye, self.color_size, self.depth_size = eye, color_size, depth_size
        self.noise, self.near, self.far = noise, near, far
        self.grazing, self.edges, self.spots = grazing, edges, spots
        self.lost, self.detail, self.sens, self.up = lost, detail, sens, up
        self.samples, self.half = samples, half
        self._fused = ScannetFused(samples, half, **shared) if self.kind == "fused" else None

    @cached_property
    def catalogue(self) -> Catalogue:
        """The objects that rooms are furnished with."""
        return catalogue_of(self.source or GENERATED)

    @property
    def filming(self) -> Filming:
        """The rooms and cameras of ``kind=synthetic``."""
        return Filming(
            frames=self.frames,
            objects=self.objects,
            occluders=self.occluders,
            room=_interval(self.room),
            floor=_interval(self.floor),
            height=_interval(self.height),
            edge=_interval(self.edge),
            wall=self.wall,
            eye=self.eye,
            color_size=(int(self.color_size[0]), int(self.color_size[1])),
            depth_size=(int(self.depth_size[0]), int(self.depth_size[1])),
            sensor=DepthSensor(self.noise, self.near, self.far, self.grazing, self.edges, self.spots),
            lost=self.lost,
            detail=self.detail,
            sens=self.sens,
            up=self.up,
        )

    def items(self) -> Sequence[Item]:
        if self._fused is not None:
            return self._fused.items()
        self.catalogue  # noqa: B018 - a source that names nothing is told before any work
        names = [f"scene{number:04d}_00" for number in range(self.scenes)]
        return [Item(name, None, name) for name in names]

    def make(self, item: Item, folder: Path) -> Made:
        if self._fused is not None:
            return self._fused.make(item, folder)
        made = scannet_synthetic.make(item.name, folder, self.filming, self.catalogue, self.rng(item))
        return Made(item.name, *made)

    def finish(self, made: Sequence[Made]) -> None:
        if self._fused is not None:
            return self._fused.finish(made)
        scannet_synthetic.write_labels(self.path / "scannetv2-labels.combined.tsv", self.catalogue.categories)
        if len(made) >= len(SPLITS):  # without lists, all scenes are in every split
            for name, scenes in split([m.name for m in made], self.seed).items():
                write_list(self.path / f"scannetv2_{name}.txt", scenes)
        return None


def _interval(values: Sequence[float]) -> tuple[float, float]:
    return float(values[0]), float(values[-1])
