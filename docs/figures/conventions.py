"""Draw ``conventions.svg``: the axes, pixels, depth, voxels and frames of conventions.md, by recon's own functions.

Run it from anywhere: ``python docs/figures/conventions.py [FILE]``.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Polygon, Rectangle

from recon.data.solids import solid_mesh
from recon.geometry.cameras import look_at, pixel_centres, project, unproject
from recon.geometry.frames import Frame
from recon.io.files import atomic
from recon.io.types import Mesh

RED, GREEN, BLUE, GREY, INK = "#c0392b", "#1e8449", "#2471a3", "#9aa5b1", "#222222"
COLORS = (RED, GREEN, BLUE)
SIZE = (90, 120)  # height and width of the photograph, in pixels
K = np.array([[110.0, 0.0, 60.0], [0.0, 110.0, 45.0], [0.0, 0.0, 1.0]])
POSE = look_at(np.array([1.9, 1.0, 2.2]), np.array([0.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]))
MIDDLE = np.array([0.85, 0.35, 1.0])
OBSERVER = look_at(MIDDLE + np.array([3.4, 1.7, -2.4]), MIDDLE, np.array([0.0, 1.0, 0.0]))
UNIT = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
SHARP = 0.8  # cosine below which two faces meet in an edge that is drawn


def edges_of(mesh: Mesh) -> np.ndarray:
    """(E, 2, 3) ends of the sharp edges of a closed mesh."""
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    sides = np.sort(mesh.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    order = np.lexsort(sides.T)
    face = np.repeat(np.arange(len(mesh.faces)), 3)[order].reshape(-1, 2)
    sharp = (normals[face[:, 0]] * normals[face[:, 1]]).sum(axis=1) < SHARP
    return mesh.vertices[sides[order][::2][sharp]]


def seen(points: np.ndarray) -> np.ndarray:
    """Where the observer of the first panel sees world points, y up as matplotlib draws."""
    return project(points, np.eye(3), OBSERVER)[0] * (1, -1)


def arrow(ax: Axes, start: np.ndarray, end: np.ndarray, color: str, label: str = "", past: float = 1.15) -> None:
    """An arrow with a label beyond its tip."""
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": color, "lw": 1.8, "shrinkA": 0, "shrinkB": 0})
    beyond = start + past * (end - start)
    ax.plot(*beyond, alpha=0)  # so that the label lies within what is drawn
    ax.text(*beyond, label, color=color, ha="center", va="center", weight="bold")


def lines(ax: Axes, ends: np.ndarray, color: str = INK, width: float = 0.8) -> None:
    """Straight lines between (E, 2, 2) ends."""
    steps = np.concatenate([ends, np.full((len(ends), 1, 2), np.nan)], axis=1).reshape(-1, 2)
    ax.plot(steps[:, 0], steps[:, 1], color=color, lw=width, solid_capstyle="round")


def world_and_camera(ax: Axes, chair: np.ndarray) -> None:
    """The world's axes, an object, and a camera that looks at it."""
    ax.set_title("World (right-handed) and camera (OpenCV)")
    lines(ax, seen(chair.reshape(-1, 3)).reshape(-1, 2, 2))
    for axis, color, name in zip(UNIT, COLORS, "xyz", strict=True):
        arrow(ax, seen(np.zeros((1, 3)))[0], seen(1.5 * axis[None])[0], color, name, 1.08)
    eye, turn = POSE[:3, 3], POSE[:3, :3]
    border = np.array([[0, 0], [SIZE[1], 0], SIZE[::-1], [0, SIZE[0]]], dtype=float)
    corners = unproject(border, np.full(4, 0.75), K, POSE)
    rim = np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)
    rays = np.stack([np.broadcast_to(eye, corners.shape), corners], axis=1)
    lines(ax, seen(np.concatenate([rim, rays]).reshape(-1, 3)).reshape(-1, 2, 2), GREY)
    for axis, color, name in zip(turn.T, COLORS, ("x right", "y down", "z forward"), strict=True):
        arrow(ax, seen(eye[None])[0], seen((eye + 0.95 * axis)[None])[0], color, name, 1.22)
    ax.text(*(seen(eye[None])[0] + (0.0, 0.035)), "c2w[:3, 3]", ha="center", color=INK)
    ax.set_aspect("equal")
    ax.margins(0.12)


def photograph(ax: Axes, chair: np.ndarray) -> None:
    """What that camera sees, with the axes of its pixels."""
    ax.set_title("Its photograph: u right, v down")
    ax.add_patch(Rectangle((0, 0), SIZE[1], SIZE[0], fill=False, color=GREY))
    lines(ax, project(chair.reshape(-1, 3), K, POSE)[0].reshape(-1, 2, 2))
    arrow(ax, np.array([0, 0]), np.array([30, 0]), RED, "u", 1.2)
    arrow(ax, np.array([0, 0]), np.array([0, 30]), GREEN, "v", 1.2)
    ax.plot(*K[:2, 2], "+", color=BLUE, ms=9)
    ax.text(K[0, 2] + 3, K[1, 2] - 3, "(cx, cy)", color=BLUE)
    ax.text(-2, -4, "(0, 0)", ha="right")
    ax.text(SIZE[1], SIZE[0] + 7, "(W, H)", ha="right")
    ax.set(xlim=(-22, 132), ylim=(102, -14), aspect="equal")


def pixels(ax: Axes) -> None:
    """The first few pixels, with borders at integers and centres halfway."""
    ax.set_title("Pixels: borders at integers, centres at + 0.5")
    for row, column in product(range(3), range(4)):
        ax.add_patch(Rectangle((column, row), 1, 1, fill=False, color=GREY))
        ax.text(column + 0.5, row + 0.82, f"[{row}, {column}]", ha="center", color=GREY, size=8)
    centres = pixel_centres(3, 4).reshape(-1, 2)
    ax.plot(*centres.T, "o", color=BLUE, ms=4)
    ax.text(0.5, 0.34, "(0.5, 0.5)", ha="center", color=BLUE, size=8)
    ax.text(1.5, 0.34, "(1.5, 0.5)", ha="center", color=BLUE, size=8)
    for number in range(5):
        ax.text(number, -0.12, f"{number}", ha="center", color=RED)
    for number in range(4):
        ax.text(-0.1, number, f"{number}", ha="right", va="center", color=GREEN)
    ax.set(xlim=(-0.5, 4.3), ylim=(3.3, -0.5), aspect="equal")


def depth(ax: Axes) -> None:
    """Depth is z, not the length of the ray."""
    ax.set_title("Depth: z, not the length of the ray")
    ax.plot([0, 3], [0, 0], color=BLUE, lw=1.2, ls="--")
    ax.plot([3, 3], [-0.2, 1.9], color=INK, lw=2)
    ax.plot([0, 3], [0, 1.5], color=GREY, lw=1.2)
    ax.plot([3], [1.5], "o", color=RED, ms=5)
    ax.plot([0], [0], "s", color=INK, ms=7)
    arrow(ax, np.array([0, -0.45]), np.array([3, -0.45]), BLUE)
    ax.text(1.5, -0.75, "depth = z (0: missing)", ha="center", color=BLUE)
    ax.text(1.25, 0.95, "length of the ray", ha="center", color=GREY, rotation=26.6)
    ax.text(3.08, 1.5, "point", color=RED, va="center")
    ax.text(0, 0.25, "camera", ha="center")
    ax.set(xlim=(-0.5, 3.7), ylim=(-1.1, 2.1), aspect="equal")


def voxels(ax: Axes) -> None:
    """A cube of voxels: the tensor's axes are x, y, z."""
    ax.set_title("Voxels: grid[i, j, k], axes x, y, z")
    count = 4
    slant = np.array([[1.0, 0.0], [0.0, 1.0], [-0.42, -0.34]])  # x right, y up, z towards the reader
    steps = np.arange(count + 1) / count
    for step in steps:
        front = np.array([[[step, 0, 1], [step, 1, 1]], [[0, step, 1], [1, step, 1]]])
        top = np.array([[[step, 1, 0], [step, 1, 1]], [[0, 1, step], [1, 1, step]]])
        side = np.array([[[1, step, 0], [1, step, 1]], [[1, 0, step], [1, 1, step]]])
        lines(ax, np.concatenate([front, top, side]) @ slant, GREY)
    one = np.array([[3, 3, 4], [4, 3, 4], [4, 4, 4], [3, 4, 4]]) / count
    ax.add_patch(Polygon(one @ slant, color=BLUE, alpha=0.35, lw=0))
    ax.annotate("voxel [3, 3, 3]", one.mean(axis=0) @ slant, (0.95, 1.24), color=BLUE, arrowprops={"arrowstyle": "-"})
    corner = np.array([0.0, 0.0, 1.0]) @ slant
    arrow(ax, corner, np.array([0.45, 0, 1]) @ slant, RED)
    ax.text(*(np.array([0.3, -0.13, 1]) @ slant), "i, x", color=RED, weight="bold")
    arrow(ax, corner, np.array([0, 0.45, 1]) @ slant, GREEN, "j, y", 1.25)
    arrow(ax, np.array([1.0, 0, 0]) @ slant, np.array([1.0, 0, 0.55]) @ slant, BLUE, "k, z", 1.4)
    ax.text(0.28, -0.62, "centre = low + side * (i + 0.5) / n", ha="center")
    ax.set(xlim=(-0.75, 1.5), ylim=(-0.7, 1.4), aspect="equal")


def frames(ax: Axes) -> None:
    """A method's own coordinates, and the way back to the world."""
    ax.set_title("Frame: world = scale * rotation @ local + translation")
    turn = np.radians(18)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    frame = Frame(1.5, rotation, np.array([4.6, 0.9, 0.0]))
    square = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], dtype=float)
    angles = np.linspace(0, 2 * np.pi, 120)
    blob = (0.72 + 0.12 * np.sin(3 * angles))[:, None] * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    for to_place, name in ((np.array, "local"), (frame.to_world, "world")):
        box, shape = (np.asarray(to_place(part))[:, :2] for part in (square, blob))
        ax.add_patch(Polygon(box, fill=False, color=GREY, ls="--"))
        ax.add_patch(Polygon(shape, facecolor="#dfe8ef", edgecolor=INK, lw=1.3))
        origin = np.asarray(to_place(np.zeros((1, 3))))[0, :2]
        for axis, color in zip(UNIT[:2], (RED, GREEN), strict=True):
            arrow(ax, origin, np.asarray(to_place(0.5 * axis[None]))[0, :2], color)
        ax.text(origin[0], -1.75, name, ha="center", weight="bold")
    ax.text(0.0, -0.4, "sdf < 0", ha="center", size=8)
    ax.text(0.72, 0.74, "> 0", ha="center", size=8)
    ax.annotate("", (2.6, 0.3), (1.2, 0.1), arrowprops={"arrowstyle": "-|>", "color": INK})
    ax.set(xlim=(-1.2, 6.8), ylim=(-2.1, 3.0), aspect="equal")


def draw(file: Path) -> None:
    """Write the picture."""
    plt.rcParams.update(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "recon",
            "font.size": 9,
            "axes.titlesize": 10,
            "font.family": "sans-serif",
        }
    )
    chair = edges_of(solid_mesh("chair_000", 64))
    figure, axes = plt.subplots(2, 3, figsize=(12, 7), layout="constrained")
    for ax in axes.flat:
        ax.axis("off")
    world_and_camera(axes[0, 0], chair)
    photograph(axes[0, 1], chair)
    for ax, panel in zip(axes.flat[2:], (pixels, depth, voxels, frames), strict=True):
        panel(ax)
    with atomic(file) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".svg"))
