"""One posed recording, of a sphere whose pictures are computed exactly, written in every format that is read."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from recon.geometry.cameras import invert, look_at, pixel_centres, rays
from recon.io.images import write_png

CENTRE, RADIUS = np.array([1.3, -0.4, 2.0]), 0.5
SIZE = (60, 80)  # height, width
K = np.array([[90.0, 0, 41.0], [0, 92.0, 29.0], [0, 0, 1]])
VIEWS = 10


def poses() -> np.ndarray:
    """(V, 4, 4) cameras about the sphere, two metres away, at changing heights."""
    turn = np.arange(VIEWS) * 2 * np.pi / VIEWS
    eyes = CENTRE + 2 * np.stack([np.cos(turn), 0.5 * np.sin(3 * turn), np.sin(turn)], axis=1)
    return look_at(eyes, CENTRE + 0.05 * np.sin(eyes), np.array([0.0, -1.0, 0.0]))


def seen(pose: np.ndarray, k: np.ndarray = K, size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) uint8 colours, which are the sphere's normals, and (H, W) depth z, 0 beside the sphere."""
    origins, directions = rays(pixel_centres(*size).reshape(-1, 2), k, pose)
    out = origins - CENTRE
    along = (out * directions).sum(axis=1)
    root = along**2 - (out**2).sum(axis=1) + RADIUS**2
    hit = root > 0
    distance = -along - np.sqrt(np.where(hit, root, 0))
    normals = (out + distance[:, None] * directions) / RADIUS
    rgb = np.where(hit[:, None], np.round(127.5 + 127.5 * normals), 0).astype(np.uint8)
    depth = np.where(hit, distance * (directions @ pose[:3, 2]), 0)
    return rgb.reshape(*size, 3), depth.reshape(size)


def write_images(folder: Path, alpha: bool = False, names: str = "{:03d}.png") -> list[str]:
    """The photographs; with `alpha`, transparent beside the sphere. Returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, pose in enumerate(poses()):
        rgb, depth = seen(pose)
        mask = np.where(depth > 0, 255, 0).astype(np.uint8)
        write_png(folder / names.format(i), np.dstack([rgb, mask]) if alpha else rgb)
    return [names.format(i) for i in range(VIEWS)]


def write_masks(folder: Path, names: str = "{:03d}.png") -> None:
    """Masks of 0 and 1, as some tools write them."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, pose in enumerate(poses()):
        write_png(folder / names.format(i), (seen(pose)[1] > 0).astype(np.uint8))


def write_depth(path: Path, pose: np.ndarray, scale: float = 1000.0, missing: int = 0) -> None:
    counts = np.round(seen(pose)[1] * scale)
    write_png(path, np.where(counts > 0, counts, missing).astype(np.uint16))


def transforms(folder: Path, alpha: bool = True, **fields: object) -> Path:
    """A nerfstudio recording, or what `fields` make of it."""
    names = write_images(folder / "images", alpha)
    opengl = poses() @ np.diag([1.0, -1, -1, 1])
    frames = [{"file_path": f"images/{n}", "transform_matrix": p.tolist()} for n, p in zip(names, opengl, strict=True)]
    camera = {"fl_x": K[0, 0], "fl_y": K[1, 1], "cx": K[0, 2], "cy": K[1, 2], "w": SIZE[1], "h": SIZE[0]}
    (folder / "transforms.json").write_text(json.dumps({**camera, "frames": frames, **fields}))
    return folder


def seven_scenes(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for i, pose in enumerate(poses()):
        write_png(folder / f"frame-{i:06d}.color.png", seen(pose)[0])
        write_depth(folder / f"frame-{i:06d}.depth.png", pose, missing=65535)
        np.savetxt(folder / f"frame-{i:06d}.pose.txt", pose)
    np.savetxt(folder / "camera-intrinsics.txt", K)
    return folder


def redwood(folder: Path) -> Path:
    for name in ("image", "depth"):
        (folder / name).mkdir(parents=True)
    lines = []
    for i, pose in enumerate(poses()):
        write_png(folder / "image" / f"{i:05d}.png", seen(pose)[0])
        write_depth(folder / "depth" / f"{i:05d}.png", pose)
        lines += [f"{i} {i} {i + 1}", *(" ".join(f"{x:.9f}" for x in row) for row in pose)]
    (folder / "trajectory.log").write_text("\n".join(lines) + "\n")
    document = {"width": SIZE[1], "height": SIZE[0], "intrinsic_matrix": K.T.ravel().tolist()}
    (folder / "camera_intrinsic.json").write_text(json.dumps(document))
    return folder


def tum(folder: Path) -> Path:
    """Depth comes 8 ms after colour; the trajectory has other times than both."""
    for name in ("rgb", "depth"):
        (folder / name).mkdir(parents=True)
    lists: dict[str, list[str]] = {"rgb": ["# color"], "depth": ["# depth"], "groundtruth": ["# trajectory"]}
    for i, pose in enumerate(poses()):
        time = 1305031102.175 + i
        write_png(folder / "rgb" / f"{i}.png", seen(pose)[0])
        write_depth(folder / "depth" / f"{i}.png", pose, 5000.0)
        lists["rgb"].append(f"{time:.6f} rgb/{i}.png")
        lists["depth"].append(f"{time + 0.008:.6f} depth/{i}.png")
        row = [*pose[:3, 3], *Rotation.from_matrix(pose[:3, :3]).as_quat()]
        for shift in (-0.004, 0.004):
            lists["groundtruth"].append(f"{time + shift:.6f} " + " ".join(f"{x:.9f}" for x in row))
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    np.savetxt(folder / "camera-intrinsics.txt", K)
    return folder


def sun(folder: Path) -> Path:
    for name in ("image", "depth", "extrinsics"):
        (folder / name).mkdir(parents=True)
    for i, pose in enumerate(poses()):
        write_png(folder / "image" / f"{i + 1:07d}-{i * 33369:012d}.png", seen(pose)[0])
        counts = np.round(seen(pose)[1] * 1000).astype(np.uint16)
        write_png(folder / "depth" / f"{i + 1:07d}-{i * 33369 + 5:012d}.png", (counts << 3) | (counts >> 13))
    np.savetxt(folder / "extrinsics" / "2013.txt", poses()[:, :3].reshape(-1, 4))
    np.savetxt(folder / "intrinsics.txt", K)
    return folder


def scannet(folder: Path) -> Path:
    """As ScanNet's tool exports it; colour is larger than depth."""
    for name in ("color", "depth", "pose", "intrinsic"):
        (folder / name).mkdir(parents=True)
    for i, pose in enumerate(poses()):
        write_png(folder / "color" / f"{i}.png", np.kron(seen(pose)[0], np.ones((2, 2, 1), dtype=np.uint8)))
        write_depth(folder / "depth" / f"{i}.png", pose)
        np.savetxt(folder / "pose" / f"{i}.txt", pose)
    np.savetxt(folder / "intrinsic" / "intrinsic_depth.txt", np.block([[K, np.zeros((3, 1))], [np.zeros(3), 1]]))
    return folder


def middlebury(folder: Path) -> Path:
    names = write_images(folder)
    lines = [str(len(names))]
    shifted = K - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
    for name, inverse in zip(names, invert(poses()), strict=True):
        numbers = [*shifted.ravel(), *inverse[:3, :3].ravel(), *inverse[:3, 3]]
        lines.append(f"{name} " + " ".join(f"{x:.12g}" for x in numbers))
    (folder / "ball_par.txt").write_text("\n".join(lines) + "\n")
    return folder


def colmap(folder: Path, text: bool = False) -> Path:
    """A project as COLMAP leaves it: images, sparse/0, and points on the sphere with some far away."""
    names = write_images(folder / "images")
    points = np.random.default_rng(0).normal(size=(400, 3))
    points = CENTRE + RADIUS * points / np.linalg.norm(points, axis=1, keepdims=True)
    points[:12] += 50 * (points[:12] - CENTRE)
    images = [(name, 3, pose) for name, pose in zip(names, invert(poses()), strict=True)]
    camera = (3, "PINHOLE", SIZE[1], SIZE[0], [K[0, 0], K[1, 1], K[0, 2], K[1, 2]])
    write_model(folder / "sparse" / "0", [camera], images, points, text)
    return folder


def write_model(folder: Path, cameras: list, images: list, points: np.ndarray, text: bool) -> None:
    """A COLMAP model: (number, model, width, height, parameters), (name, camera, world to camera), positions."""
    folder.mkdir(parents=True)
    for stem, data in model_bytes(cameras, images, points, text).items():
        (folder / f"{stem}.{'txt' if text else 'bin'}").write_bytes(data)


MODEL_NUMBERS = {"SIMPLE_PINHOLE": 0, "PINHOLE": 1, "SIMPLE_RADIAL": 2, "RADIAL": 3, "OPENCV": 4, "OPENCV_FISHEYE": 5}
MODEL_NUMBERS |= {"FULL_OPENCV": 6}


def model_bytes(cameras: list, images: list, points: np.ndarray, text: bool) -> dict[str, bytes]:
    """The three files of `write_model`; images have some key points, points have tracks."""
    turned = [(name, cam, Rotation.from_matrix(p[:3, :3]).as_quat()[[3, 0, 1, 2]], p[:3, 3]) for name, cam, p in images]
    if text:
        rows = [f"{n} {m} {w} {h} " + " ".join(map(repr, map(float, v))) for n, m, w, h, v in cameras]
        pictures = []
        for i, (name, cam, q, t) in enumerate(turned):
            pictures.append(f"{i + 1} " + " ".join(f"{x!r}" for x in map(float, [*q, *t])) + f" {cam} {name}")
            pictures.append("" if i % 2 else "1.5 2.5 -1 3.5 4.5 1")
        spots = [f"{i} " + " ".join(repr(float(x)) for x in p) + " 1 2 3 0.5 1 2 2 3" for i, p in enumerate(points)]
        return {
            "cameras": "\n".join(["# cameras", *rows, ""]).encode(),
            "images": "\n".join(["# images", "#", *pictures, ""]).encode(),
            "points3D": "\n".join(["# points", *spots, ""]).encode(),
        }
    lenses = b"".join(
        struct.pack("<IiQQ", n, MODEL_NUMBERS[m], w, h) + struct.pack(f"<{len(v)}d", *v) for n, m, w, h, v in cameras
    )
    pictures = b"".join(
        struct.pack("<I7dI", i + 1, *q, *t, cam) + name.encode() + b"\0" + struct.pack("<Q2dq", 1, 1.5, 2.5, -1)
        for i, (name, cam, q, t) in enumerate(turned)
    )
    spots = b"".join(
        struct.pack("<Q3d3BdQ", i, *p, 1, 2, 3, 0.5, i % 3) + struct.pack("<II", 1, 2) * (i % 3)
        for i, p in enumerate(points)
    )
    return {
        stem: struct.pack("<Q", count) + data
        for stem, count, data in (
            ("cameras", len(cameras), lenses),
            ("images", len(images), pictures),
            ("points3D", len(points), spots),
        )
    }
