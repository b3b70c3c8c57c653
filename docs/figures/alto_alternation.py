"""Draw ``alto_alternation.svg``: how ALTO's features go from points to planes and back, stage by stage.

Widths and resolutions are read off the network itself. Run it from anywhere: ``python docs/figures/alto_alternation.py
[FILE]``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle

from recon.io.files import atomic
from recon.nets.alternating import AlternatingUNet, Down, Up, poolings
from recon.nets.occupancy_net import OccupancyNet

POINTS, GRID, INK, SKIP = "#c0392b", "#2471a3", "#222222", "#9aa5b1"
STEP, LOW, HIGH = 2.6, 0.0, 3.1  # distance of stages; heights of the points' and of the grids' line


def stages(net: OccupancyNet) -> list[tuple[str, int, int]]:
    """(name, channels, resolution) of every stage of the U-Net, in order."""
    assert isinstance(net.unet, AlternatingUNet)
    found = []
    resolution = net.resolution
    for number, stage in enumerate(net.unet.down):
        assert isinstance(stage, Down)
        found.append((f"down {number}", stage.conv2.out_channels, resolution))
        if 1 <= number <= poolings(len(net.unet.down)):
            resolution //= 2
    for number, stage in enumerate(net.unet.up):
        assert isinstance(stage, Up)
        resolution *= 2 if number < poolings(len(net.unet.down)) else 1
        found.append((f"up {number}", stage.conv2.out_channels, resolution))
    return found


def plane(ax: Axes, x: float, y: float, resolution: int, largest: int, channels: int) -> float:
    """Three planes as sheets behind each other; returns half their side."""
    half = 0.32 + 0.42 * resolution / largest
    for sheet in (2, 1, 0):
        corner = (x - half + 0.11 * sheet, y - half + 0.11 * sheet)
        ax.add_patch(Rectangle(corner, 2 * half, 2 * half, facecolor="#d6e6f2", edgecolor=GRID, lw=1.1))
    cells = max(2, round(8 * resolution / largest))
    for line in np.linspace(-half, half, cells + 1)[1:-1]:
        ax.plot([x + line] * 2, [y - half, y + half], color=GRID, lw=0.3)
        ax.plot([x - half, x + half], [y + line] * 2, color=GRID, lw=0.3)
    ax.text(x, y + half + 0.34, f"{channels} x {resolution}²", ha="center", va="bottom", fontsize=8, color=GRID)
    return half


def cloud(ax: Axes, x: float, y: float, rng: np.random.Generator) -> None:
    """The input points, in a ring about their place."""
    angle = rng.uniform(0, 2 * np.pi, 60)
    radius = 0.42 + rng.normal(0, 0.025, 60)
    ax.plot(x + radius * np.cos(angle), y + radius * np.sin(angle), ".", color=POINTS, ms=2.6)


def arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], color: str, bend: float = 0.0) -> None:
    """An arrow from one place to another."""
    style = {"arrowstyle": "-|>", "color": color, "lw": 1.3, "shrinkA": 2, "shrinkB": 2}
    ax.annotate("", end, start, arrowprops={**style, "connectionstyle": f"arc3,rad={bend}"})


def box(ax: Axes, x: float, y: float, text: str) -> None:
    """A word in a frame."""
    ax.add_patch(FancyBboxPatch((x - 0.62, y - 0.3), 1.24, 0.6, boxstyle="round,pad=0.05", fc="white", ec=INK))
    ax.text(x, y, text, ha="center", va="center", fontsize=8.5)


def draw(file: Path) -> None:
    """The whole picture, of the network as published."""
    # Words stay words, and the file is the same whenever it is drawn.
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "recon", "font.family": "sans-serif"})
    net = OccupancyNet()
    rng, found = np.random.default_rng(0), stages(net)
    figure, ax = plt.subplots(figsize=(13, 4.6))
    end = STEP * len(found)
    box(ax, -0.2 - STEP / 2, LOW, "PointNet")
    arrow(ax, (-0.2 - STEP / 2, LOW + 0.35), (-0.55, HIGH - 0.75), POINTS)
    arrow(ax, (0.5 - STEP / 2, LOW), (STEP / 2 - 0.5, LOW), POINTS)
    halves = []
    for number, (name, channels, resolution) in enumerate(found):
        x = STEP * number
        halves.append(plane(ax, x, HIGH, resolution, net.resolution, channels))
        ax.text(x, HIGH + 1.5, name, ha="center", fontsize=9, weight="bold")
        if number == len(found) - 1:
            continue
        middle = x + STEP / 2
        cloud(ax, middle, LOW, rng)
        ax.text(middle, LOW - 0.62, f"c: {channels}", ha="center", va="top", fontsize=8, color=POINTS)
        arrow(ax, (x + 0.05, HIGH - halves[-1]), (middle - 0.3, LOW + 0.42), GRID)
        arrow(ax, (middle + 0.3, LOW + 0.42), (x + STEP - 0.05, HIGH - 0.75), POINTS)
        if number:
            arrow(ax, (middle - STEP + 0.5, LOW), (middle - 0.5, LOW), POINTS)
    ax.text(0.28, (LOW + HIGH) / 2 - 0.35, "read", color=GRID, fontsize=8.5, ha="right")
    ax.text(2.25, (LOW + HIGH) / 2 - 0.35, "mean", color=POINTS, fontsize=8.5)
    levels = (len(found) + 1) // 2
    for number in range(levels - 1):
        first, last = STEP * number, STEP * (len(found) - 1 - number)
        arrow(
            ax,
            (first + 0.2, HIGH + 1.7),
            (last - 0.2, HIGH + 1.7),
            SKIP,
            bend=-0.13 - 0.05 * (levels - number) / levels,
        )
    arrow(ax, (end - STEP + halves[-1] + 0.25, HIGH), (end - 0.75, HIGH), GRID)
    box(ax, end - 0.05, HIGH, "attention")
    arrow(ax, (end - 0.05, HIGH - 0.35), (end - 0.05, LOW + 0.45), INK)
    ax.text(end - 0.05, LOW + 0.3, "occupancy\nat any query", ha="center", va="top", fontsize=8.5)
    ax.set_xlim(-2.4, end + 0.9)
    ax.set_ylim(LOW - 1.1, HIGH + 3.9)
    ax.set_aspect("equal")
    ax.axis("off")
    figure.subplots_adjust(0, 0, 1, 1)
    with atomic(file) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".svg"))
