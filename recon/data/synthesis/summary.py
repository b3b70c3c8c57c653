"""`summary.html`: what a factory made, with pictures, and what it rejected and why; opens without a network."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from recon.io.files import write_text

if TYPE_CHECKING:
    from recon.data.synthesis.factory import Made, Rejected

SHOWN = 400  # pages with more pictures open slowly
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { max-width: 78rem; margin: 0 auto; padding: 1.5rem; }
h1 { margin: 0 0 .25rem; font-size: 1.6rem; } h2 { margin: 2rem 0 .75rem; font-size: 1.15rem; }
.items { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: 1rem; }
figure { margin: 0; padding: .6rem; border: 1px solid color-mix(in srgb, currentColor 18%, transparent); }
figure img { display: block; max-width: 100%; margin: 0 auto .5rem; }
figcaption { overflow-wrap: anywhere; font-weight: 600; }
dl { display: grid; grid-template-columns: auto 1fr; gap: 0 .75rem; margin: .3rem 0 0; font-size: .85rem; }
section dl { justify-content: start; gap: 0 2rem; } section dd { text-align: left; }
dt { opacity: .7; } dd { margin: 0; text-align: right; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; } td, th { padding: .35rem .6rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid color-mix(in srgb, currentColor 18%, transparent); overflow-wrap: anywhere; }
"""


def write_summary(
    path: Path, title: str, options: Mapping[str, Any], made: Sequence[Made], rejected: Sequence[Rejected]
) -> None:
    """Write the page: figures, rejected items first, then thumbnails with facts, then the options."""
    count = f"{len(made)} made" + (f", {len(rejected)} rejected" if rejected else "")
    parts = [f"<h1>{escape(title)}</h1><p>{count}</p>", _rejected(rejected), _items(made), _options(options)]
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} · recon prepare</title>
<style>{STYLE}</style>
</head>
<body>
{"".join(parts)}
</body>
</html>
"""
    write_text(path, page)


def _rejected(rejected: Sequence[Rejected]) -> str:
    if not rejected:
        return ""
    rows = "".join(f"<tr><td>{escape(r.name)}</td><td>{escape(r.reason)}</td></tr>" for r in rejected)
    return f"<h2>Rejected</h2><table><tr><th>Item</th><th>Why</th></tr>{rows}</table>"


def _items(made: Sequence[Made]) -> str:
    figures = "".join(map(_figure, made[:SHOWN]))
    more = f"<p>{len(made) - SHOWN} more are not shown.</p>" if len(made) > SHOWN else ""
    return f'<h2>Made</h2><div class="items">{figures}</div>{more}' if made else ""


def _figure(made: Made) -> str:
    picture = "" if made.thumbnail is None else f'<img alt="{escape(made.name)}" src="{_inline(made.thumbnail)}">'
    return f"<figure>{picture}<figcaption>{escape(made.name)}</figcaption>{_list(made.facts)}</figure>"


def _options(options: Mapping[str, Any]) -> str:
    return f"<section><h2>Options</h2>{_list(options)}</section>"


def _list(values: Mapping[str, Any]) -> str:
    rows = "".join(f"<dt>{escape(str(k))}</dt><dd>{escape(_spelled(v))}</dd>" for k, v in values.items())
    return f"<dl>{rows}</dl>"


def _spelled(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _inline(picture: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
