"""`prepare data=rooms`: rooms composed of objects, floor and walls, in the layout of ConvONet's synthetic rooms."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Unpack, cast

import numpy as np

from recon.data.loading import Split
from recon.data.synthesis.catalogue import Catalogue, catalogue_of, load
from recon.data.synthesis.factory import Factory, Item, Made, Shared
from recon.data.synthesis.normalise import Up
from recon.data.synthesis.occupancy import Solid
from recon.data.synthesis.output import write_npz
from recon.data.synthesis.room_layout import Room, Rules, compose
from recon.data.synthesis.room_samples import drawn, occupied, portrait, surface, truth, write_queries, write_surface
from recon.data.synthesis.splits import SPLITS
from recon.errors import ConfigError
from recon.io.clouds import write_cloud
from recon.io.meshes import write_mesh
from recon.io.splits import write_list, write_metadata
from recon.io.types import Cloud

log = logging.getLogger("recon")

BOX = 1.1  # side of the cube that occupancies are asked in


class Rooms(Factory):
    """Rooms for networks that learn occupancy; see Peng et al., Convolutional Occupancy Networks, 2020.

    ``rooms_NN/ID/pointcloud/pointcloud_00..09.npz`` hold points, normals and semantics of the surface,
    ``points_iou/points_iou_00..09.npz`` points anywhere, whether they are inside, and semantics. Semantics are numbers
    of categories (the lines of ``semantics.txt``), -1 of floor and walls, and, of points in the open, the number of
    categories. ``mesh.ply`` is the true mesh. Objects of one split are in no room of another.

    The build script of the original wrote an item's number into the lists after counting on, so that its lists name
    each room by the next one's number; here lists name the rooms they mean. It also never built the fourth wall.

    Args:
        rooms: of each class.
        numbers: of objects in a room; each is a class ``rooms_NN``.
        shares: of train, val and test.
        files: each of point clouds and of occupancies.
        surface_points: drawn for a point cloud; those on outer faces of walls and floor are then left out.
        queries: points of an occupancy file.
        density: of points on walls and floor, in that on objects.
        wall: probability of each wall.
        floor: interval of the floor's shorter side; the longer is 1.
        height: interval of the height of walls.
        edge: interval of objects' longest sides; None: by their number, as published.
        up: the axis of the meshes' files that points up.
        shared: see `Factory`; ``source=shapes`` takes generated objects.
    """

    def __init__(
        self,
        rooms: int = 1000,
        numbers: Sequence[int] = (4, 5, 6, 7, 8),
        shares: Sequence[float] = (0.75, 0.05, 0.2),
        files: int = 10,
        surface_points: int = 100_000,
        queries: int = 100_000,
        density: float = 0.2,
        wall: float = 0.5,
        floor: Sequence[float] = (0.3, 1.0),
        height: Sequence[float] = (0.2, 0.4),
        edge: Sequence[float] | None = None,
        up: Up = "y",
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        if len(shares) != len(SPLITS) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            raise ConfigError(f"shares={list(shares)}: these are no shares of train, val and test.", "They sum to 1.")
        self.rooms, self.numbers = rooms, tuple(numbers)
        self.shares = (shares[0], shares[1], shares[2])
        self.files, self.surface_points, self.queries = files, surface_points, queries
        self.density, self.wall, self.floor, self.height, self.edge = density, wall, floor, height, edge
        self.up = up

    @property
    def rules(self) -> Rules:
        """What the rooms have in common."""
        edge = None if self.edge is None else (self.edge[0], self.edge[1])
        return Rules((self.floor[0], self.floor[1]), wall=self.wall, height=(self.height[0], self.height[1]), edge=edge)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The objects there are."""
        return catalogue_of(self.source)

    def items(self) -> Sequence[Item]:
        few = self.catalogue.shared_categories()
        if few:
            log.warning("Rooms of all splits share the objects of %s: there are fewer than three.", ", ".join(few))
        names = [f"rooms_{n:02d}/{room:08d}" for n in self.numbers for room in range(self.rooms)]
        return [Item(name, None, name) for name in names]

    def split(self, name: str) -> Split:
        """The split of a room: the first ones are for training, the last for tests."""
        number = int(name.split("/")[1])
        ends = np.round(np.cumsum(self.shares) * self.rooms)
        return cast(Split, SPLITS[int(np.searchsorted(ends, number, side="right"))])

    def make(self, item: Item, folder: Path) -> Made:
        rng, split = self.rng(item), self.split(item.name)
        count = int(item.name.split("/")[0].removeprefix("rooms_"))
        stock = self.catalogue.part(split, self.shares, self.seed)
        chosen = [stock.draw(rng) for _ in range(count)]
        things = [load(entry, self.up) for entry in chosen]
        objects = [(entry.name, entry.category, thing.look) for entry, thing in zip(chosen, things, strict=True)]
        room, solids = compose(objects, self.rules, rng), [thing.solid for thing in things]
        self._write_samples(folder, room, solids, rng)
        write_npz(folder / "item_dict.npz", {**drawn(room), "split": split, "room_idx": int(item.name.split("/")[1])})
        mesh = truth(room, solids)
        write_mesh(folder / "mesh.ply", mesh)
        facts = {"split": split, "objects": count, "walls": int(room.walls.sum()), "floor": float(room.floor.min())}
        return Made(item.name, facts, portrait(mesh))

    def _write_samples(self, folder: Path, room: Room, solids: Sequence[Solid], rng: np.random.Generator) -> None:
        free = len(self.catalogue.categories)
        for number in range(self.files):
            cloud, semantics = surface(room, solids, self.surface_points, self.density, rng)
            write_surface(folder / "pointcloud" / f"pointcloud_{number:02d}.npz", cloud, semantics)
            if number == 0:
                write_cloud(folder / "pointcloud0.ply", Cloud(cloud.points.astype(np.float16)))
        for number in range(self.files):
            points = ((rng.random((self.queries, 3)) - 0.5) * BOX).astype(np.float16)
            semantics = occupied(room, solids, points, free)
            write_queries(folder / "points_iou" / f"points_iou_{number:02d}.npz", points, semantics, free)

    def finish(self, made: Sequence[Made]) -> None:
        classes = sorted({m.name.split("/")[0] for m in made})
        for name in classes:
            for split in SPLITS:
                rooms = [m.name.split("/") for m in made if m.facts["split"] == split]
                ids = [room for group, room in rooms if group == name]
                write_list(self.path / name / f"{split}.lst", ids)
        write_metadata(self.path / "metadata.yaml", {name: name.replace("_", " ") for name in classes})
        write_list(self.path / "semantics.txt", self.catalogue.categories)
