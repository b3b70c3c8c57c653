"""`kind=synthetic`: RGB-D recordings of furnished rooms in ScanNet's layout, with their true meshes and annotation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Unpack

import numpy as np

from recon.data.synthesis.camera_path import film
from recon.data.synthesis.catalogue import SPLITS, Catalogue, catalogue_of, load
from recon.data.synthesis.depth_sensor import DepthSensor
from recon.data.synthesis.factory import Factory, Item, Made, Shared
from recon.data.synthesis.normalise import Up
from recon.data.synthesis.output import contact_sheet
from recon.data.synthesis.render import Renderer
from recon.data.synthesis.room_layout import Rules
from recon.data.synthesis.scannet_scene import KNOWN, Annotated, Label, furnished, labels, write_annotation
from recon.data.synthesis.shading import Light, Lights
from recon.errors import ConfigError
from recon.geometry.cameras import directions_of, pixel_centres, recentred
from recon.io.files import write_text
from recon.io.images import read_gray, read_image, write_png
from recon.io.sens_writer import SensFrame, write_sens
from recon.io.splits import write_list

FOCAL = 577.87  # of ScanNet's depth camera, in pixels of its images
FULL = (480, 640)


class ScannetSynthetic(Factory):
    """Rooms filmed by hand with a depth camera, whose surface, objects and poses are known exactly.

    A scene holds ``color/N.jpg depth/N.png pose/N.txt intrinsic/ instance-filt/N.png label-filt/N.png``, the mesh
    ``<scene>_vh_clean_2.ply`` with segments and objects, and ``<scene>.txt`` with the axis alignment: what ScanNet
    exports. The table of labels lies beside the scenes. Some objects are hidden in part by others that stand close.

    Args:
        scenes: how many.
        frames: of a recording.
        objects: in a room.
        occluders: smaller things put close beside some of them.
        room: interval of its longer side, in metres.
        floor: interval of the shorter side, in longer ones.
        height: interval of the height of walls, in metres.
        edge: interval of objects' longest sides, in metres.
        wall: probability of each wall.
        eye: height of the camera, in metres.
        color_size: (height, width) of colour, instance and label images; ScanNet's are 968x1296.
        depth_size: (height, width) of depth images.
        noise: standard deviation of depth at 1 m; it grows with the square of depth.
        near: less depth is missing.
        far: more depth is missing.
        grazing: degrees to the surface below which depth begins to fail.
        edges: share of depth that fails beside jumps.
        spots: share of depth that is missing in spots.
        lost: share of frames whose pose is lost (-inf).
        detail: longest edge of the mesh of floor and walls, in metres.
        sens: write the recording as ``<scene>.sens``, too.
        up: the axis of the meshes' files that points up.
        shared: see `Factory`; ``source=shapes`` (the default) takes generated furniture.
    """

    kinds = ("synthetic",)

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
        depth_size: Sequence[int] = FULL,
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
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        if min(scenes, frames, objects) < 1 or min(*color_size, *depth_size) < 8:
            raise ConfigError("prepare: scenes, frames, objects and sizes of images must be positive.", "")
        self.scenes, self.frames, self.objects, self.occluders = scenes, frames, objects, occluders
        self.room, self.floor, self.height, self.edge, self.wall = room, floor, height, edge, wall
        self.eye, self.color_size, self.depth_size = eye, color_size, depth_size
        self.noise, self.near, self.far = noise, near, far
        self.grazing, self.edges, self.spots = grazing, edges, spots
        self.lost, self.detail, self.sens, self.up = lost, detail, sens, up
        self._catalogue: Catalogue | None = None

    @property
    def catalogue(self) -> Catalogue:
        """The objects there are."""
        if self._catalogue is None:
            self._catalogue = catalogue_of(self.source or "shapes")
        return self._catalogue

    def items(self) -> Sequence[Item]:
        self.catalogue  # noqa: B018 - a source that names nothing is told before any work
        names = [f"scene{number:04d}_00" for number in range(self.scenes)]
        return [Item(name, None, name) for name in names]

    def make(self, item: Item, folder: Path) -> Made:
        rng = self.rng(item)
        annotated = self._scene(rng)
        poses = film(annotated.boxes(), annotated.low, annotated.high, self.frames, self.eye, rng)
        poses = np.linalg.inv(annotated.alignment) @ poses
        mesh = write_annotation(folder, item.name, annotated)
        pictures, missing = self._record(folder, annotated, poses, rng)
        lost = rng.random(self.frames) < self.lost
        for number, pose in enumerate(poses):
            write_matrix(folder / "pose" / f"{number}.txt", np.full((4, 4), -np.inf) if lost[number] else pose)
        self._write_cameras(folder, item.name, annotated)
        if self.sens:
            self._write_sens(folder, item.name, np.where(lost[:, None, None], -np.inf, poses))
        facts = {"frames": self.frames, "poses lost": int(lost.sum()), "objects": len(annotated.room.objects)}
        return Made(item.name, {**facts, "depth missing": missing, "faces": len(mesh.faces)}, contact_sheet(pictures))

    def finish(self, made: Sequence[Made]) -> None:
        known = [*labels(self.catalogue.categories), Label(*KNOWN["wall"]), Label(*KNOWN["floor"])]
        rows = sorted({(label.number, label.name, label.nyu40) for label in known})
        head = "id\traw_category\tcategory\tcount\tnyu40id\n"
        table = "".join(f"{number}\t{name}\t{name}\t1\t{nyu}\n" for number, name, nyu in rows)
        write_text(self.path / "scannetv2-labels.combined.tsv", head + table)
        names = [m.name for m in made]
        ends = np.round(np.array([0.6, 0.8, 1.0]) * len(names)).astype(int)
        for split, start, end in zip(SPLITS, [0, *ends[:-1]], ends, strict=True):
            write_list(self.path / f"scannetv2_{split}.txt", names[start:end])

    def _scene(self, rng: np.random.Generator) -> Annotated:
        side = float(rng.uniform(self.room[0], self.room[1]))
        rules = Rules(
            floor=(self.floor[0], self.floor[1]),
            wall=self.wall,
            height=(self.height[0] / side, self.height[1] / side),
            edge=(self.edge[0] / side, self.edge[1] / side),
            gap=0.01,
        )
        chosen = [self.catalogue.draw(rng) for _ in range(self.objects + self.occluders)]
        things = [(entry.name, entry.category, load(entry, self.up).look) for entry in chosen]
        first, rest = things[: self.objects], things[self.objects :]
        return furnished(first, rest, self.catalogue.categories, rules, side, self.detail, rng)

    def _record(
        self, folder: Path, annotated: Annotated, poses: np.ndarray, rng: np.random.Generator
    ) -> tuple[list[np.ndarray], float]:
        """Write all images; returns small pictures for the summary and the share of depth that is missing."""
        color_size, depth_size = _pair(self.color_size), _pair(self.depth_size)
        color_k, depth_k = camera(color_size), camera(depth_size)
        sensor = DepthSensor(self.noise, self.near, self.far, self.grazing, self.edges, self.spots)
        renderer, lights = Renderer(annotated.look), lamp(annotated)
        part_of_face = np.append(annotated.part_of_face, -1)
        numbers = np.array([*(label.number for label in annotated.labels), 0], dtype=np.uint16)
        pictures, missing = [], []
        for number, pose in enumerate(poses):
            rgb, alpha = renderer.picture(color_k, pose, color_size, lights)
            rgb = (rgb * (alpha[..., None] / 255)).astype(np.uint8)
            part = part_of_face[renderer.geometry(color_k, pose, color_size)[2]]
            depth, normal, _ = renderer.geometry(depth_k, pose, depth_size)
            reading = sensor.measure(depth, sine(normal, depth_k, pose), rng)
            write_png(folder / "color" / f"{number}.jpg", rgb)
            write_png(folder / "depth" / f"{number}.png", reading)
            write_png(folder / "instance-filt" / f"{number}.png", (part + 1).astype(np.uint8))
            write_png(folder / "label-filt" / f"{number}.png", numbers[part])
            pictures.append(rgb[:: max(1, rgb.shape[0] // 96), :: max(1, rgb.shape[0] // 96)])
            missing.append(float((reading == 0).mean()))
        return pictures, float(np.mean(missing))

    def _write_cameras(self, folder: Path, scene: str, annotated: Annotated) -> None:
        lines = {"axisAlignment": " ".join(f"{x:.6f}" for x in annotated.alignment.ravel())}
        for kind, size in (("color", _pair(self.color_size)), ("depth", _pair(self.depth_size))):
            k = np.eye(4)
            k[:3, :3] = recentred(camera(size), -0.5)
            write_matrix(folder / "intrinsic" / f"intrinsic_{kind}.txt", k)
            write_matrix(folder / "intrinsic" / f"extrinsic_{kind}.txt", np.eye(4))
            names = (f"fx_{kind}", f"fy_{kind}", f"mx_{kind}", f"my_{kind}")
            lines |= {n: f"{v:.6f}" for n, v in zip(names, (k[0, 0], k[1, 1], k[0, 2], k[1, 2]), strict=True)}
            lines |= {f"{kind}Height": str(size[0]), f"{kind}Width": str(size[1])}
            lines[f"num{kind.capitalize()}Frames"] = str(self.frames)
        write_text(folder / f"{scene}.txt", "".join(f"{key} = {value}\n" for key, value in sorted(lines.items())))

    def _write_sens(self, folder: Path, scene: str, poses: np.ndarray) -> None:
        def frames() -> Iterator[SensFrame]:
            for number, pose in enumerate(poses):
                color = read_image(folder / "color" / f"{number}.jpg")[0]
                time = round(number * 1e6 / 30)
                yield SensFrame(color, read_gray(folder / "depth" / f"{number}.png"), pose, (time, time))

        color_k, depth_k = (recentred(camera(_pair(size)), -0.5) for size in (self.color_size, self.depth_size))
        write_sens(folder / f"{scene}.sens", frames(), color_k, depth_k)


def camera(size: tuple[int, int]) -> np.ndarray:
    """(3, 3) K of ScanNet's cameras for images of some size, pixel centres at integer + 0.5."""
    focal = FOCAL * min(size[0] / FULL[0], size[1] / FULL[1])
    return np.array([[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1]])


def lamp(annotated: Annotated) -> Lights:
    """A lamp below the middle of the ceiling, and daylight from one side."""
    local = np.append((annotated.low + annotated.high) / 2, 1.0)
    local[2] = 0.95 * annotated.high[2]
    x, y, z = (float(v) for v in (np.linalg.inv(annotated.alignment) @ local)[:3])
    sky = Light((0.4, 0.3, 0.85), (0.2, 0.21, 0.24))
    return Lights((Light((x, y, z), (0.6, 0.58, 0.54), "lamp"), sky), ambient=0.32, specular=0.05)


def sine(normal: np.ndarray, k: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """(H, W) of the angle between a pixel's ray and the surface of (H, W, 3) world normals."""
    rays = directions_of(pixel_centres(*normal.shape[:2]), k)
    rays = rays / np.linalg.norm(rays, axis=2, keepdims=True) @ pose[:3, :3].T
    return np.abs((rays * normal).sum(axis=2))


def write_matrix(path: Path, matrix: np.ndarray) -> None:
    """Write a matrix as ScanNet's text files have it."""
    write_text(path, "".join(" ".join(f"{x:.6f}" for x in row) + "\n" for row in matrix))


def _pair(size: Sequence[int]) -> tuple[int, int]:
    return int(size[0]), int(size[1])
