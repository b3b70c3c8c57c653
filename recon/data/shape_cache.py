"""What `data=shapes` makes on first use and keeps: meshes, voxels, pictures. Other code or settings, other key."""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
import zipfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pooch

from recon.data import fields, furniture, machined, shape_views, solids
from recon.data.shape_views import Arrays
from recon.data.synthesis import render, shading, textures
from recon.geometry import cameras, conventions, dual_contouring, frames, raycast, sampling, voxelize
from recon.io import renderings
from recon.io.files import atomic

MADE_BY: tuple[ModuleType, ...] = (
    *(fields, furniture, machined, solids, shape_views),
    *(render, shading, textures),
    *(cameras, conventions, dual_contouring, frames, raycast, sampling, voxelize, renderings),
)

log = logging.getLogger("recon")


class ShapeCache:
    """Arrays by the names of shapes, on disk.

    Args:
        folder: where; None is ``shapes`` in RECON_CACHE, or else in the user's cache folder.
        settings: whatever the arrays depend on besides the shape's name.
    """

    def __init__(self, folder: str | Path | None, settings: str) -> None:
        home = Path(folder).expanduser() if folder is not None else cache_folder() / "shapes"
        self.folder = home / hashlib.sha256(f"{_sources()} {settings}".encode()).hexdigest()[:16]

    def get(self, name: str, part: str, make: Callable[[], Arrays]) -> Arrays:
        """What was kept of a shape, or what `make` gives, which is then kept.

        Args:
            name: of the shape.
            part: what of it, e.g. ``"mesh"``.
            make: called if nothing is there, or if what is there is damaged.
        """
        file = self.folder / f"{name}.{part}.npz"
        if file.is_file():
            try:
                with np.load(file, allow_pickle=False) as kept:
                    return dict(kept)
            except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
                log.warning("'%s' is damaged (%s) and made again.", file, error)
        made = make()
        with atomic(file) as temporary:
            np.savez_compressed(temporary, **made)  # type: ignore[arg-type] # numpy: of any arrays
        return made


def cache_folder() -> Path:
    """Where what can be made again is kept: RECON_CACHE, or the system's place for such things."""
    return Path(os.environ.get("RECON_CACHE") or pooch.os_cache("recon")).expanduser()


@lru_cache(maxsize=1)
def _sources() -> str:
    """A digest of the code that makes the arrays."""
    return hashlib.sha256("".join(inspect.getsource(module) for module in MADE_BY).encode()).hexdigest()
