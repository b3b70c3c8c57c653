"""`kind=synthetic`: RGB-D recordings of furnished rooms in ScanNet's layout, with their true meshes and annotation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recon.data.synthesis.camera_path import film
from recon.data.synthesis.catalogue import Catalogue, load
from recon.data.synthesis.depth_sensor import DepthSensor
from recon.data.synthesis.normalise import Up
from recon.data.synthesis.output import contact_sheet
from recon.data.synthesis.render import Renderer, before
from recon.data.synthesis.room_layout import Rules
from recon.data.synthesis.scannet_scene import KNOWN, Annotated, Label, furnished, labels, write_annotation
from recon.data.synthesis.shading import Light, Lights
from recon.geometry.cameras import directions_of, pixel_centres, recentred
from recon.io.files import write_text
from recon.io.images import read_gray, read_image, write_png
from recon.io.sens_writer import SensFrame, write_sens

Interval = tuple[float, float]
FOCAL = 577.87  # of ScanNet's depth camera, in pixels of its images
FULL = (480, 640)


@dataclass(frozen=True)
class Filming:
    """What rooms are like and how they are filmed.

    Attributes:
        frames: of a recording.
        objects: in a room.
        occluders: smaller things put close beside some of them.
        room: interval of the room's longer side, in metres.
        floor: interval of the shorter side, in longer ones.
        height: interval of the height of walls, in metres.
        edge: interval of objects' longest sides, in metres.
        wall: probability of each wall.
        eye: height of the camera, in metres.
        color_size: (height, width) of colour, instance and label images.
        depth_size: (height, width) of depth images.
        sensor: the depth camera.
        lost: share of frames whose pose is lost (-inf).
        detail: longest edge of the mesh of floor and walls, in metres.
        sens: write the recording as ``<scene>.sens``, too.
        up: the axis of the meshes' files that points up.
    """

    frames: int
    objects: int
    occluders: int
    room: Interval
    floor: Interval
    height: Interval
    edge: Interval
    wall: float
    eye: float
    color_size: tuple[int, int]
    depth_size: tuple[int, int]
    sensor: DepthSensor
    lost: float
    detail: float
    sens: bool
    up: Up

    def furnish(self, catalogue: Catalogue, rng: np.random.Generator) -> Annotated:
        """A room of drawn objects."""
        side = float(rng.uniform(*self.room))
        low, high = self.height
        edge = (self.edge[0] / side, self.edge[1] / side)
        rules = Rules(self.floor, wall=self.wall, height=(low / side, high / side), edge=edge, gap=0.01)
        chosen = [catalogue.draw(rng) for _ in range(self.objects + self.occluders)]
        things = [(entry.name, entry.category, load(entry, self.up).look) for entry in chosen]
        first, rest = things[: self.objects], things[self.objects :]
        return furnished(first, rest, catalogue.categories, rules, side, self.detail, rng)


def make(
    scene: str, folder: Path, filming: Filming, catalogue: Catalogue, rng: np.random.Generator
) -> tuple[dict[str, Any], np.ndarray]:
    """Write a scene as ScanNet exports it: images, poses, cameras, mesh and annotation.

    ``color/N.jpg depth/N.png pose/N.txt intrinsic/ instance-filt/N.png label-filt/N.png``, the true mesh
    ``<scene>_vh_clean_2.ply`` with segments and objects, and ``<scene>.txt`` with the axis alignment.

    Args:
        scene: its name.
        folder: for the files.
        filming: rooms and cameras.
        catalogue: objects to draw from.
        rng: of all draws.

    Returns:
        facts and a contact sheet for the summary.

    Raises:
        DataError: if an object's file cannot be used, or the objects do not fit.
    """
    annotated = filming.furnish(catalogue, rng)
    poses = film(annotated.boxes(), annotated.low, annotated.high, filming.frames, filming.eye, rng)
    poses = np.linalg.inv(annotated.alignment) @ poses
    mesh = write_annotation(folder, scene, annotated)
    pictures, missing = _record(folder, filming, annotated, poses, rng)
    lost = rng.random(len(poses)) < filming.lost
    poses[lost] = -np.inf
    for number, pose in enumerate(poses):
        write_matrix(folder / "pose" / f"{number}.txt", pose)
    _write_cameras(folder, scene, filming, annotated)
    if filming.sens:
        _write_sens(folder, scene, filming, poses)
    facts = {"frames": len(poses), "poses lost": int(lost.sum()), "objects": len(annotated.room.objects)}
    return {**facts, "depth missing": missing, "faces": len(mesh.faces)}, contact_sheet(pictures)


def write_labels(path: Path, categories: Sequence[str]) -> None:
    """Write ``scannetv2-labels.combined.tsv``: number, name and NYU's number of every category in use."""
    known = [*labels(categories), Label(*KNOWN["wall"]), Label(*KNOWN["floor"])]
    rows = sorted({(label.number, label.name, label.nyu40) for label in known})
    table = "".join(f"{number}\t{name}\t{name}\t1\t{nyu}\n" for number, name, nyu in rows)
    write_text(path, "id\traw_category\tcategory\tcount\tnyu40id\n" + table)


def _record(
    folder: Path, filming: Filming, annotated: Annotated, poses: np.ndarray, rng: np.random.Generator
) -> tuple[list[np.ndarray], float]:
    """Write all images; returns small pictures for the summary and the share of depth that is missing."""
    color_k, depth_k = camera(filming.color_size), camera(filming.depth_size)
    renderer, lights = Renderer(annotated.look), lamp(annotated)
    part_of_face = np.append(annotated.part_of_face, -1)
    numbers = np.array([*(label.number for label in annotated.labels), 0], dtype=np.uint16)
    pictures, missing = [], []
    for number, pose in enumerate(poses):
        rgb, alpha = renderer.picture(color_k, pose, filming.color_size, lights)
        rgb = before(rgb, alpha, 0)
        part = part_of_face[renderer.geometry(color_k, pose, filming.color_size)[2]]
        depth, normal, _ = renderer.geometry(depth_k, pose, filming.depth_size)
        reading = filming.sensor.measure(depth, sine(normal, depth_k, pose), rng)
        write_png(folder / "color" / f"{number}.jpg", rgb)
        write_png(folder / "depth" / f"{number}.png", reading)
        write_png(folder / "instance-filt" / f"{number}.png", (part + 1).astype(np.uint8))
        write_png(folder / "label-filt" / f"{number}.png", numbers[part])
        pictures.append(rgb[:: max(1, rgb.shape[0] // 96), :: max(1, rgb.shape[0] // 96)])
        missing.append(float((reading == 0).mean()))
    return pictures, float(np.mean(missing))


def _write_cameras(folder: Path, scene: str, filming: Filming, annotated: Annotated) -> None:
    lines = {"axisAlignment": " ".join(f"{x:.6f}" for x in annotated.alignment.ravel())}
    for kind, size in (("color", filming.color_size), ("depth", filming.depth_size)):
        k = np.eye(4)
        k[:3, :3] = recentred(camera(size), -0.5)
        write_matrix(folder / "intrinsic" / f"intrinsic_{kind}.txt", k)
        write_matrix(folder / "intrinsic" / f"extrinsic_{kind}.txt", np.eye(4))
        names = (f"fx_{kind}", f"fy_{kind}", f"mx_{kind}", f"my_{kind}")
        lines |= {n: f"{v:.6f}" for n, v in zip(names, (k[0, 0], k[1, 1], k[0, 2], k[1, 2]), strict=True)}
        lines |= {f"{kind}Height": str(size[0]), f"{kind}Width": str(size[1])}
        lines[f"num{kind.capitalize()}Frames"] = str(filming.frames)
    write_text(folder / f"{scene}.txt", "".join(f"{key} = {value}\n" for key, value in sorted(lines.items())))


def _write_sens(folder: Path, scene: str, filming: Filming, poses: np.ndarray) -> None:
    def frames() -> Iterator[SensFrame]:
        for number, pose in enumerate(poses):
            color = read_image(folder / "color" / f"{number}.jpg")[0]
            time = round(number * 1e6 / 30)
            yield SensFrame(color, read_gray(folder / "depth" / f"{number}.png"), pose, (time, time))

    color_k, depth_k = (recentred(camera(size), -0.5) for size in (filming.color_size, filming.depth_size))
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
