"""A small room and what a camera sees of it, written in ScanNet's three layouts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh

from recon.geometry.cameras import compose, look_at, pixel_centres, rays, recentred
from recon.geometry.frames import Frame
from recon.geometry.raycast import RayCaster
from recon.io.images import write_png
from recon.io.meshes import write_mesh
from recon.io.sens_writer import SensFrame, write_sens
from recon.io.types import Mesh

COLOR_K = np.array([[90.0, 0, 58.0], [0, 91.0, 44.0], [0, 0, 1]])  # pixel centres at integers, as ScanNet has them
DEPTH_K = np.array([[62.0, 0, 39.0], [0, 60.0, 28.5], [0, 0, 1]])
COLOR_SIZE, DEPTH_SIZE = (90, 120), (60, 80)
LOST = (2, 5)


def room() -> Mesh:
    """Floor, two walls, a table and a box on it (z up, 4 x 3 x 2 m): nothing of it is symmetric."""
    boxes = [
        ((4.0, 3.0, 0.1), (0, 0, -0.05)),
        ((0.1, 3.0, 2.0), (-2.0, 0, 1.0)),
        ((4.0, 0.1, 2.0), (0, 1.5, 1.0)),
        ((1.2, 0.8, 0.7), (0.4, 0.3, 0.35)),
        ((0.3, 0.2, 0.4), (0.7, 0.1, 0.9)),
    ]
    parts = [trimesh.creation.box(size, trimesh.transformations.translation_matrix(at)) for size, at in boxes]
    whole = trimesh.util.concatenate(parts)
    return Mesh(np.array(whole.vertices, dtype=np.float64), np.array(whole.faces, dtype=np.int64))


def poses(count: int = 8) -> np.ndarray:
    """(count, 4, 4) camera to world, on an arc before the open sides."""
    turn = np.linspace(-1.3, 0.2, count)
    eye = np.stack([0.4 + 2.2 * np.cos(turn), 0.3 + 2.2 * np.sin(turn), np.linspace(1.4, 1.9, count)], axis=1)
    return look_at(eye, np.array([0.2, 0.3, 0.5]), np.array([0, 0, 1.0]))


def paint(points: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 smooth colours that tell where a point is."""
    return np.round(128 + 110 * np.sin(1.5 * points + [0, 1, 2])).astype(np.uint8)


@dataclass(frozen=True)
class Seen:
    """One camera's exact images: colour, z, face's part (1 the floor .. 5 the box, 0 nothing), normals."""

    color: np.ndarray
    depth: np.ndarray
    label: np.ndarray
    normal: np.ndarray


def seen(pose: np.ndarray, k: np.ndarray, size: tuple[int, int], mesh: Mesh | None = None) -> Seen:
    """What a camera with pixel centres at integers sees of the room."""
    mesh = mesh or room()
    origins, directions = rays(pixel_centres(*size).reshape(-1, 2), recentred(k), pose)
    hits = RayCaster(mesh).first_hit(origins, directions)
    points = origins + np.where(hits.hit, hits.distance, 1)[:, None] * directions
    corners = mesh.vertices[mesh.faces[hits.face]]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    z = np.where(hits.hit, (points - pose[:3, 3]) @ pose[:3, 2], 0)
    return Seen(
        np.where(hits.hit[:, None], paint(points), 0).astype(np.uint8).reshape(*size, 3),
        z.reshape(size),
        np.where(hits.hit, hits.face // 12 + 1, 0).reshape(size),
        np.where(hits.hit[:, None], normal, 0).reshape(*size, 3),
    )


def write_scan(folder: Path, alignment: np.ndarray | None = None, labels: bool = True) -> Path:
    """``<folder>/<its name>_vh_clean_2.ply`` with its text file and annotations, as it was scanned."""
    name, mesh, motion = folder.name, room(), np.eye(4) if alignment is None else alignment
    back = np.linalg.inv(motion)
    scanned = Mesh(mesh.vertices @ back[:3, :3].T + back[:3, 3], mesh.faces)
    write_mesh(folder / f"{name}_vh_clean_2.ply", scanned)
    rows = " ".join(f"{value:.6f}" for value in motion.ravel())
    (folder / f"{name}.txt").write_text(f"axisAlignment = {rows} \nnumDepthFrames = 8\n")
    if labels:
        groups = [{"id": i, "objectId": i, "segments": [10 * i], "label": f"part {i}"} for i in range(5)]
        segments = [10 * (i // 8) for i in range(len(mesh.vertices))]
        (folder / f"{name}_vh_clean.aggregation.json").write_text(json.dumps({"segGroups": groups}))
        (folder / f"{name}_vh_clean_2.0.010000.segs.json").write_text(json.dumps({"segIndices": segments}))
    return folder


def frames(count: int = 8) -> list[SensFrame]:
    """What the two cameras see along the way; two frames have lost their pose."""
    made = []
    for i, pose in enumerate(poses(count)):
        color, depth = seen(pose, COLOR_K, COLOR_SIZE).color, seen(pose, DEPTH_K, DEPTH_SIZE).depth
        made.append(
            SensFrame(color, np.round(1000 * depth).astype(np.uint16), pose if i not in LOST else pose - np.inf)
        )
    return made


def write_recording(folder: Path) -> Path:
    """``<folder>/<its name>.sens``."""
    write_sens(folder / f"{folder.name}.sens", frames(), COLOR_K, DEPTH_K, color_codec="png")
    return folder


def write_exported(folder: Path) -> Path:
    """The folders that a recording is exported to, with instance and label images; frames count in tens."""
    for i, (frame, pose) in enumerate(zip(frames(), poses(), strict=True)):
        number = 10 * i
        write_png(folder / "color" / f"{number}.png", frame.color)
        write_png(folder / "depth" / f"{number}.png", frame.depth)
        parts = seen(pose, COLOR_K, COLOR_SIZE).label
        write_png(folder / "instance-filt" / f"{number}.png", parts.astype(np.uint8))
        write_png(folder / "label-filt" / f"{number}.png", (parts * 100).astype(np.uint16))
        write_matrix(folder / "pose" / f"{number}.txt", frame.pose)
    for kind, k in (("color", COLOR_K), ("depth", DEPTH_K)):
        whole = np.eye(4)
        whole[:3, :3] = k
        write_matrix(folder / "intrinsic" / f"intrinsic_{kind}.txt", whole)
    return folder


def write_object(folder: Path, number: int = 4, size: tuple[int, int] = (60, 80)) -> Frame:
    """O2-Recon's tree of one part of the room, made right; returns the normalised frame."""
    region = Frame(1.25, translation=np.array([0.4, 0.3, 0.5]))
    to_world = np.diag([region.scale] * 3 + [1.0])
    to_world[:3, 3] = region.translation
    cameras = {}
    (folder / "pred_normal").mkdir(parents=True)
    for i, pose in enumerate(poses(4)):
        view = seen(pose, DEPTH_K, size)
        write_png(folder / "image" / f"{i:04d}.png", view.color)
        write_png(folder / "mask" / f"{i:04d}.png", (255 * (view.label == number)).astype(np.uint8))
        write_png(folder / "scale_depth" / f"{i:04d}.png", (view.depth / region.scale * 1000).astype(np.uint16))
        # x left, y up, z to the viewer; 8 bits, and (-1, -1, -1) outside the mask.
        normal = np.round((-view.normal @ pose[:3, :3] + 1) * 127.5) / 127.5 - 1
        normal[view.label != number] = -1
        np.savez(folder / "pred_normal" / f"{i:04d}.npz", normal)
        local = pose.copy()
        local[:3, 3] = region.to_local(pose[:3, 3])
        whole = np.eye(4)
        whole[:3] = compose(DEPTH_K, local)
        cameras |= {f"world_mat_{i}": whole, f"scale_mat_{i}": np.eye(4)}
    np.savez(folder / "cameras_sphere.npz", **cameras)
    (folder / "trans_n2w.txt").write_text("\n".join(" ".join(f"{v:.04f}" for v in row) for row in to_world))
    (folder / "semantic.txt").write_text("coffee table\n")
    return region


def write_matrix(path: Path, matrix: np.ndarray) -> None:
    """As ScanNet writes matrices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(" ".join(f"{value:.6f}" for value in row) for row in matrix) + "\n")
