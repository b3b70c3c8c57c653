"""How a shape grows with every view that a network is shown: views above, what it makes of them below."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from recon.io.types import Mesh
from recon.report.camera import Stage
from recon.report.previews import render_mesh
from recon.report.sections import Section, image_html

MOST = 8  # pictures in a row
INK, PAPER = (40, 44, 52), (255, 255, 255)


def shown_views(count: int) -> list[int]:
    """Numbers from 1 to `count`, at most `MOST`, evenly spread, the first and the last among them."""
    return sorted({round(x) for x in np.linspace(1, count, min(count, MOST))})


def growth_strip(
    views: Sequence[np.ndarray], meshes: Sequence[Mesh], numbers: Sequence[int], size: int = 200
) -> np.ndarray:
    """A sheet of two rows: views, and the shape after each, all through one camera.

    Args:
        views: (S, S, 3) uint8, the latest at each of `numbers`.
        meshes: the shape after so many views.
        numbers: of views.
        size: side of a picture, in pixels.

    Returns:
        (H, W, 3) uint8.
    """
    head, stage = max(20, size // 9), Stage.around(*reversed(meshes))
    sheet = Image.new("RGB", (size * len(numbers), 2 * size + head), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(max(11, size // 14))
    for place, (view, mesh, number) in enumerate(zip(views, meshes, numbers, strict=True)):
        seen = Image.fromarray(view).resize((size - 8, size - 8), Image.Resampling.BICUBIC)
        sheet.paste(seen, (place * size + 4, 4))
        text = f"{number} view{'s' if number > 1 else ''}" + ("" if len(mesh.faces) else ": empty")
        draw.text((place * size + size // 2, size + head // 2), text, fill=INK, font=font, anchor="mm")
        if len(mesh.faces):
            sheet.paste(Image.fromarray(render_mesh(mesh, size=size, stage=stage)), (place * size, size + head))
    return np.asarray(sheet)


def growth_section(strip: np.ndarray, title: str) -> Section:
    """The strip as a part of a page."""
    note = '<p class="note">Above, each view as the network saw it; below, the voxels after it.</p>'
    return Section(title, f'{note}<div class="row">{image_html(strip, escape(title))}</div>')
