"""The parts a report is composed of; each helper makes one `Section` from plain data."""

from __future__ import annotations

import base64
import io
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import metadata

import numpy as np
from PIL import Image, features

from recon.io.types import Cloud, Mesh
from recon.report.camera import FOUR_SIDES, Stage, Up
from recon.report.curves import Curve, grouped, plot_html
from recon.report.errormap import ErrorMap
from recon.report.previews import Panel, render_sides
from recon.report.tables import Table
from recon.report.viewer import legend_html, viewer_html


@dataclass(frozen=True)
class Section:
    """A titled part of a page.

    Attributes:
        title: plain text.
        body: HTML; whoever makes it escapes what users wrote.
        folded: shown closed, to be opened by the reader.
    """

    title: str
    body: str
    folded: bool = False


def table_section(title: str, *tables: Table) -> Section:
    """One or more tables."""
    return Section(title, "".join(table.html() for table in tables))


def curves_section(curves: Sequence[Curve], title: str = "Curves") -> Section:
    """A plot for each quantity; train/loss and val/loss share one."""
    plots = "".join(plot_html(name, group) for name, group in grouped(curves).items())
    return Section(title, f'<div class="plots">{plots}</div>' if plots else '<p class="note">Nothing was logged.</p>')


def viewer_section(
    mesh: Mesh, errors: ErrorMap | None = None, cloud: Cloud | None = None, up: Up = "y", title: str = "Mesh"
) -> Section:
    """The interactive 3D view; `errors` and `cloud` add a colouring and the input points."""
    return Section(title, viewer_html(mesh, errors, cloud, up))


def previews_section(
    panels: Sequence[Panel], up: Up = "y", size: int = 400, title: str = "Previews", stage: Stage | None = None
) -> Section:
    """Every panel from four sides, all through the same cameras."""
    stage = stage or Stage.around(*[p.thing for p in panels], up=up)
    names = [name for name, _ in FOUR_SIDES]
    return Section(title, "".join(_sides(panel, render_sides(panel, stage, size), names) for panel in panels))


def mapping_section(title: str, values: Mapping[str, object], folded: bool = False) -> Section:
    """Names and values, e.g. the environment."""
    rows = "".join(f"<dt>{escape(str(k))}</dt><dd>{escape(str(v))}</dd>" for k, v in values.items())
    return Section(title, f"<dl>{rows}</dl>", folded)


def code_section(title: str, code: str, folded: bool = False) -> Section:
    """Text as it is, with a button that copies it."""
    return Section(title, code_html(code), folded)


def code_html(code: str) -> str:
    """A block of code with a copy button."""
    button = '<button type="button" data-copy>Copy</button>'
    return f'<div class="code">{button}<pre tabindex="0"><code>{escape(code)}</code></pre></div>'


def image_html(image: np.ndarray, alt: str) -> str:
    """A picture inside the page: WebP where this pillow writes it, else PNG."""
    kind = "webp" if features.check("webp") else "png"
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **({"quality": 88} if kind == "webp" else {"optimize": True}))
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    height, width = image.shape[:2]
    return f'<img src="data:image/{kind};base64,{data}" width="{width}" height="{height}" alt="{escape(alt)}">'


def environment() -> dict[str, str]:
    """What a reader needs to judge times and repeat results; no names of people or machines."""
    packages = ("recon", "torch", "pytorch-lightning", "numpy", "scipy", "trimesh", "hydra-core")
    versions = [f"{name} {metadata.version(name)}" for name in packages if _installed(name)]
    found = {
        "Python": platform.python_version(),
        "Platform": platform.platform(),
        "Processor": f"{_processor()}, {os.cpu_count()} logical cores",
        "Packages": ", ".join(versions),
    }
    # Only asked where it is loaded: a table of metrics should not pay seconds for an import.
    torch = sys.modules.get("torch")
    if torch is not None:
        found["Threads"] = str(torch.get_num_threads())
        cuda = torch.cuda.is_available()
        found["GPU"] = torch.cuda.get_device_name() if cuda else "none used"
    return found


def _sides(panel: Panel, pictures: Sequence[np.ndarray], names: Sequence[str]) -> str:
    legend = legend_html(panel.errors) if panel.errors is not None and not panel.is_empty else ""
    head = f'<div class="row-head"><h3>{escape(panel.title)}</h3>{legend}</div>'
    if panel.is_empty:
        return f'<div class="row">{head}<p class="note">Empty: there is nothing to show.</p></div>'
    shown = "".join(
        f"<figure>{image_html(p, f'{panel.title}, {n}')}<figcaption>{n}</figcaption></figure>"
        for p, n in zip(pictures, names, strict=True)
    )
    return f'<div class="row">{head}<div class="sides">{shown}</div></div>'


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _processor() -> str:
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as stream:
            for line in stream:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
