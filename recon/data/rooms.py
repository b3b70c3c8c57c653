"""Synthetic indoor scenes of Convolutional Occupancy Networks: several objects on a floor, some walls."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Unpack

from recon.data.base import ReconDataModule, Shared, folder
from recon.data.loading import Draw, Split
from recon.data.onet import OccupancyFolders, Sampling, wants_normals
from recon.data.onet_layout import root_of
from recon.observations import Occupancies, Points, Scene

PUBLISHED = "synthetic_room_dataset"


class Rooms(ReconDataModule):
    """Rooms as published: classes rooms_04 .. rooms_08 by the number of their objects, ten files an item.

    Each training item draws one of its files of points and, by itself, one of its files of queries; validation and
    test draw, too, but always the same. Coordinates are those of the files: the unit cube, y up.

    Args:
        path: folder of the classes.
        classes: those wanted; null means all.
        noise: standard deviation of the points seen.
        part_ratio: as `Sampling`.
        queries: of a training item.
        val_queries: of a validation item; null means all that are stored.
        jitter: as `Sampling`.
        shared: see `ReconDataModule`.
    """

    may_target = (Occupancies,)

    def __init__(
        self,
        path: str = "data/rooms",
        classes: list[str] | None = None,
        noise: float = 0.005,
        part_ratio: float = 1.0,
        queries: int = 2048,
        val_queries: int | None = None,
        jitter: float = 1e-4,
        **shared: Unpack[Shared],
    ) -> None:
        shared.setdefault("points", 10_000)
        super().__init__(**shared)
        self.path, self.classes = path, classes
        self.sampling = Sampling(self.points, noise, part_ratio, queries, val_queries, jitter)

    @cached_property
    def items(self) -> OccupancyFolders:
        """What reads the files.

        Raises:
            ConfigError: if the folder is not there.
        """
        there = folder(
            self.path,
            "data=rooms",
            "Download it (144 GB): recon prepare data=rooms; or compose rooms of your own meshes: "
            "recon prepare data=rooms source='meshes/**/*.obj'. If it lies elsewhere, give data.path.",
        )
        return OccupancyFolders(root_of(there, PUBLISHED), self.sampling, self.classes, "points_iou", self.seed)

    @property
    def gives(self) -> tuple[type, ...]:
        """Points, with normals if the first room has them."""
        return self.may_give if self.items.has_normals() else (Points,)

    def names(self, split: Split = "test") -> Sequence[str]:
        """``<class>_<room>``, class by class."""
        return self.items.names(split)

    def load(self, name: str, split: Split = "test") -> Scene:
        """A noisy cloud of `points`, and as its truth a dense cloud with normals, and occupancies."""
        return self.items.load(name, split, wants_normals(self.observation))

    def item(self, name: str, split: Split, draw: Draw) -> Scene:
        """A noisy cloud, and the occupancies of queries."""
        return self.items.item(name, split, draw, wants_normals(self.observation))
