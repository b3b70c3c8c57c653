"""`prepare data=dtu`: posed pictures, masks and cameras of objects, in the layout of Iso-Points (mvr) or IDR (idr)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Unpack

from recon.data.synthesis import idr, mvr
from recon.data.synthesis.factory import Factory, Item, Made, Shared
from recon.data.synthesis.idr import Ring
from recon.data.synthesis.mvr import Around
from recon.data.synthesis.normalise import Up
from recon.data.synthesis.paint import hue, is_plain, patterned
from recon.data.synthesis.sources import find_meshes, named
from recon.data.synthesis.textures import WHITE, Textured, read_textured
from recon.errors import ConfigError


class DTU(Factory):
    """Multi-view scans of objects, a folder each.

    ``kind=mvr``: 512x512 RGBA pictures from anywhere around the object, which is scaled into the unit ball, under
    three coloured lamps fixed to the camera (see `recon.data.synthesis.mvr`).
    ``kind=idr``: pictures from a band around the object, in its own coordinates, under fixed lights (see
    `recon.data.synthesis.idr`).

    Args:
        views: pictures of an object; None: 120 (mvr) or 49 (idr).
        size: (height, width) of a picture; None: 512x512 or 600x800.
        distance: of the cameras: an interval, farthest first (mvr), in radii of the object, or the one distance (idr),
            in radii of the sphere of interest; None: [1.2, 2.2] or 3.
        fov: angle of view in degrees (mvr).
        elevation: lowest and highest camera in degrees above the horizon (idr).
        textures: show the materials of the files; None: only in idr, for mvr is white under coloured light.
        paint: give objects without colours a pattern, without which photographs tell little of a surface (idr).
        up: the axis of the meshes' files that points up (idr).
        shared: see `Factory`.
    """

    kinds: ClassVar[tuple[str, ...]] = ("idr", "mvr")

    def __init__(
        self,
        views: int | None = None,
        size: Sequence[int] | None = None,
        distance: float | Sequence[float] | None = None,
        fov: float = 60.0,
        elevation: Sequence[float] = (-10.0, 75.0),
        textures: bool | None = None,
        paint: bool = True,
        up: Up = "y",
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        if (views is not None and views < 1) or (size is not None and (len(size) != 2 or min(size) < 8)):
            raise ConfigError(
                f"views={views}, size={size}: these are no pictures.", "Give e.g. views=49 size=[600,800]."
            )
        if not 0 < fov < 180:
            raise ConfigError(f"fov={fov}: this is no angle of view.", "Give degrees between 0 and 180, such as 60.")
        self.views, self.size, self.distance = views, size, distance
        self.fov, self.elevation, self.textures = fov, elevation, textures
        self.paint, self.up = paint, up

    @property
    def around(self) -> Around:
        """The cameras of ``kind=mvr``."""
        low, high = _interval(self.distance, (1.2, 2.2))
        return Around(self.views or 120, (low, high), self.fov, _pair(self.size, (512, 512)))

    @property
    def ring(self) -> Ring:
        """The cameras of ``kind=idr``."""
        low, high = _interval(self.distance, (3.0, 3.0))
        if low != high:
            raise ConfigError(f"distance={self.distance}: kind=idr has one distance.", "Give one number.")
        return Ring(self.views or 49, (self.elevation[0], self.elevation[1]), low, _pair(self.size, (600, 800)))

    def items(self) -> Sequence[Item]:
        found = named(find_meshes(self.source))
        models = [model for _, model in found]
        # One folder an object; the class is part of its name only where it is needed.
        unique = [m if models.count(m) == 1 else f"{group}_{m}" for group, m in found]
        return [Item(name, file, name) for name, file in zip(unique, found.values(), strict=True)]

    def make(self, item: Item, folder: Path) -> Made:
        assert item.source is not None
        look, rng = read_textured(item.source), self.rng(item)
        if not (self.kind == "idr" if self.textures is None else self.textures):
            look = Textured.plain(look.mesh, WHITE)
        if self.kind == "mvr":
            return Made(item.name, *mvr.make(look, folder, self.around, rng))
        if self.paint and is_plain(look):
            look = patterned(look, hue(int(rng.integers(1000))), rng)
        return Made(item.name, *idr.make(look, folder, self.ring, self.up))


def _interval(value: float | Sequence[float] | None, default: tuple[float, float]) -> tuple[float, float]:
    if value is None:
        return default
    low, high = (value, value) if isinstance(value, (int, float)) else (value[0], value[-1])
    if not 1 <= low <= high:
        raise ConfigError(f"distance={value}: these cameras stand inside the object.", "Give distances above 1.")
    return float(low), float(high)


def _pair(value: Sequence[int] | None, default: tuple[int, int]) -> tuple[int, int]:
    return default if value is None else (int(value[0]), int(value[1]))
