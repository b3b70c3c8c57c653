"""Pictures of meshes and clouds: single views, strips from four sides, side-by-side pairs, turntables.

Everything is drawn headless on a CPU. Pictures of one call share one stage, so that their cameras are synchronised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from recon.errors import ConfigError
from recon.io.files import atomic
from recon.io.types import Cloud, Mesh
from recon.report.camera import FOUR_SIDES, Stage, Up, View
from recon.report.errormap import ErrorMap
from recon.report.shading import BACKGROUNDS, Background, CloudPainter, MeshPainter, finish

GAP = 8
INKS = {"white": (40, 44, 52), "dark": (226, 229, 234)}


@dataclass(frozen=True)
class Panel:
    """One row of a strip.

    Attributes:
        title: what is shown, e.g. ``"input"``.
        thing: a mesh or a cloud; an empty one is shown as a sentence, not left out.
        colors: (V, 3) or (N, 3) uint8, or None.
        errors: what the colours mean; draws a legend.
    """

    title: str
    thing: Mesh | Cloud
    colors: np.ndarray | None = None
    errors: ErrorMap | None = None

    @classmethod
    def of_errors(cls, title: str, mesh: Mesh, errors: ErrorMap) -> Panel:
        """A mesh in the colours of its errors."""
        return cls(title, mesh, errors.colors(), errors)

    @property
    def is_empty(self) -> bool:
        return self.thing.is_empty if isinstance(self.thing, Mesh) else len(self.thing.points) == 0


def render_mesh(
    mesh: Mesh,
    azimuth: float = 30.0,
    elevation: float = 20.0,
    size: int = 400,
    colors: np.ndarray | None = None,
    *,
    up: Up = "y",
    background: Background = "white",
    occlusion: bool = True,
    stage: Stage | None = None,
) -> np.ndarray:
    """A shaded picture of a mesh.

    Args:
        mesh: in any coordinates; it is centred in float64 before embree, which is float32, sees it.
        azimuth: degrees about the up axis, 0 the front.
        elevation: degrees above the horizon.
        size: pixels along each side.
        colors: (V, 3) uint8 vertex colours, or None.
        up: the world axis that points up.
        background: ``"white"``, ``"dark"`` or ``"transparent"``.
        occlusion: darken what little of the sky is seen from.
        stage: what is shown; None fits the mesh.

    Returns:
        (size, size, 3) uint8, or (size, size, 4) when transparent.
    """
    painter = MeshPainter(mesh, stage or Stage.around(mesh, up=up), colors)
    return finish(painter.paint(View(azimuth, elevation, size), occlusion), background)


def render_cloud(
    cloud: Cloud,
    azimuth: float = 30.0,
    elevation: float = 20.0,
    size: int = 400,
    colors: np.ndarray | None = None,
    *,
    up: Up = "y",
    background: Background = "white",
    stage: Stage | None = None,
) -> np.ndarray:
    """A picture of a cloud, every point a disc; arguments as in `render_mesh`."""
    painter = CloudPainter(cloud, stage or Stage.around(cloud, up=up), colors)
    return finish(painter.paint(View(azimuth, elevation, size)), background)


def render_sides(
    panel: Panel,
    stage: Stage,
    size: int = 400,
    background: Background = "transparent",
    views: Sequence[tuple[str, View]] = FOUR_SIDES,
) -> list[np.ndarray]:
    """One picture a view (four sides by default); an empty thing gives empty pictures."""
    painter = _painter(panel, stage)
    cameras = [View(view.azimuth, view.elevation, size) for _, view in views]
    return [finish(painter.paint(camera, occlusion=isinstance(panel.thing, Mesh)), background) for camera in cameras]


def strip(
    panels: Sequence[Panel],
    size: int = 300,
    background: Background = "white",
    up: Up = "y",
    stage: Stage | None = None,
    views: Sequence[tuple[str, View]] = FOUR_SIDES,
) -> np.ndarray:
    """A labelled sheet: a row a panel, a column a view, a legend where colours stand for errors.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ConfigError: if there is no panel, or the background is transparent.
    """
    if not panels or background not in BACKGROUNDS:
        raise ConfigError("A strip needs at least one panel and a background.", "Choose background=white or dark.")
    stage = stage or Stage.around(*[p.thing for p in panels], up=up)
    rows = [np.concatenate(render_sides(p, stage, size, background, views), axis=1) for p in panels]
    head, ink = max(24, size // 10), INKS[background]
    sheet = Image.new("RGB", (rows[0].shape[1], len(rows) * (size + head)), BACKGROUNDS[background])
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(max(11, size // 19))
    for number, (panel, row) in enumerate(zip(panels, rows, strict=True)):
        top = number * (size + head)
        sheet.paste(Image.fromarray(row), (0, top + head))
        title = f"{panel.title}: empty, nothing to show" if panel.is_empty else panel.title
        draw.text((GAP, top + head // 2), title, fill=ink, font=font, anchor="lm")
        if panel.errors is not None and not panel.is_empty:
            _legend(sheet, draw, panel.errors, top, head, ink, font)
    return np.asarray(sheet)


def pair(
    left: Mesh | Cloud,
    right: Mesh | Cloud,
    azimuth: float = 30.0,
    elevation: float = 20.0,
    size: int = 600,
    background: Background = "white",
    up: Up = "y",
) -> np.ndarray:
    """Two things side by side through one camera, as (size, 2 size, 3) uint8; the left one sets the stage."""
    stage = Stage.around(left, right, up=up)
    views = [("", View(azimuth, elevation, size))]
    shown = [render_sides(Panel("", thing), stage, size, background, views)[0] for thing in (left, right)]
    return np.concatenate(shown, axis=1)


def turntable(
    thing: Mesh | Cloud,
    frames: int = 36,
    size: int = 400,
    elevation: float = 15.0,
    background: Background = "white",
    up: Up = "y",
    colors: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Pictures from all around, (size, size, 3) uint8 each; the last one leads to the first."""
    stage = Stage.around(thing, up=up)
    views = [("", View(360.0 * i / frames, elevation)) for i in range(frames)]
    return render_sides(Panel("", thing, colors), stage, size, background, views)


def save_image(path: str | Path, image: np.ndarray) -> Path:
    """Write a picture (png, jpg, webp by its suffix), whole or not at all."""
    with atomic(path) as temporary:
        Image.fromarray(image).save(temporary)
    return Path(path)


def save_gif(path: str | Path, frames: Sequence[np.ndarray], per_second: float = 18.0) -> Path:
    """Write frames as an endless GIF, whole or not at all."""
    # One palette for all frames, or the colours of the still parts flicker.
    palette = Image.fromarray(np.concatenate(frames[:: max(1, len(frames) // 8)])).quantize(255)
    first, *rest = [Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.NONE) for f in frames]
    with atomic(path) as temporary:
        first.save(temporary, save_all=True, append_images=rest, duration=round(1000 / per_second), loop=0)
    return Path(path)


def _painter(panel: Panel, stage: Stage) -> MeshPainter | CloudPainter:
    if isinstance(panel.thing, Mesh):
        return MeshPainter(panel.thing, stage, panel.colors)
    return CloudPainter(panel.thing, stage, panel.colors)


def _legend(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    errors: ErrorMap,
    top: int,
    head: int,
    ink: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """A colour bar at the right end of a panel's title line, with its two ends in words."""
    low, high = errors.ends()
    width, height, middle = sheet.width // 5, max(6, head // 3), top + head // 2
    right = sheet.width - GAP
    draw.text((right, middle), high, fill=ink, font=font, anchor="rm")
    right -= int(draw.textlength(high, font=font)) + GAP
    bar = np.broadcast_to(errors.bar(width)[None], (height, width, 3))
    sheet.paste(Image.fromarray(np.ascontiguousarray(bar)), (right - width, middle - height // 2))
    draw.text((right - width - GAP, middle), low, fill=ink, font=font, anchor="rm")
