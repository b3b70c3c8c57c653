"""Which objects ShapeNet's renderings hold, what their classes are called, and which of them train."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from recon.data.base import folder
from recon.data.loading import Split
from recon.errors import ConfigError, did_you_mean
from recon.io.splits import read_list
from recon.io.taxonomies import CLASSES, NAMES, Splits, read_splits, read_taxonomy

log = logging.getLogger("recon")

TRAINED = 0.8  # share of a class's models, by sorted id, that 3D-R2N2 trains on
MEND = (
    "Download them (ShapeNetRendering 12 GB, ShapeNetVox32 31 MB) with: recon prepare data=shapenet kind=views; "
    "or make them of your own meshes: recon prepare data=shapenet source='meshes/**/*.obj'"
)


class RenderedModels:
    """The objects of two trees, ``<images>/<class>/<model>`` and ``<voxels>/<class>/<model>``.

    Those that lack one of the two folders are left out, and counted in the log.

    Args:
        images: the folder ``ShapeNetRendering``.
        voxels: the folder ``ShapeNetVox32``.
        classes: ids or names of the taxonomy; None means all that are there.
        split: as `recon.data.renderings.Renderings`.
        taxonomy: as there.

    Raises:
        ConfigError: if a folder or a class is not there.
    """

    def __init__(
        self,
        images: str | Path,
        voxels: str | Path,
        classes: Sequence[str] | None = None,
        split: str = "ratio",
        taxonomy: str | None = None,
    ) -> None:
        self.images = folder(images, "The renderings of ShapeNet", MEND)
        self.voxels = folder(voxels, "The voxels of ShapeNet", MEND)
        self.split = split
        self.taxonomy = CLASSES if taxonomy is None else read_taxonomy(taxonomy)
        self.classes = self._classes(classes)

    def category(self, name: str) -> str:
        """What the class of ``class/model`` is called."""
        place = name.split("/")[0]
        return self.taxonomy.get(place, place)

    def _classes(self, wanted: Sequence[str] | None) -> list[str]:
        """Folders of the classes, in the order in which they were asked for, or sorted."""
        there = _folders(self.voxels)
        if wanted is None:
            return there
        known = {self.taxonomy.get(name, name): name for name in there} | {name: name for name in there}
        for name in wanted:
            if name not in known:
                raise ConfigError(
                    f"data.classes: '{name}' is not in '{self.voxels}'.", did_you_mean(name, known) or MEND
                )
        return list(dict.fromkeys(known[name] for name in wanted))

    @cached_property
    def names(self) -> dict[Split, list[str]]:
        """``class/model`` of each split; what lacks views or voxels is left out, and told of once."""
        splits = self._splits()
        there: set[str] = set()
        for name in self.classes:
            both = set(_folders(self.voxels / name)) & set(_folders(self.images / name))
            there |= {f"{name}/{model}" for model in both}
        listed = {split: [f"{c}/{m}" for c in self.classes for m in splits[split].get(c, [])] for split in NAMES}
        missing = sorted({name for names in listed.values() for name in names} - there)
        if missing:
            log.warning("%d objects lack views or voxels and are left out; the first: %s", len(missing), missing[0])
        return {split: [name for name in names if name in there] for split, names in listed.items()}

    def _splits(self) -> Splits:
        if self.split == "ratio":
            return ratio_splits({name: _folders(self.voxels / name) for name in self.classes})
        path = Path(self.split).expanduser()
        if path.suffix.lower() == ".json":
            return read_splits(path)
        if not path.is_dir():
            raise ConfigError(
                f"data.split={self.split}: there is no such folder.",
                "Give ratio, a .json file of lists, or a folder of <class>/{train,val,test}.lst.",
            )
        return {split: {name: read_list(path / name / f"{split}.lst") for name in self.classes} for split in NAMES}


def ratio_splits(models: dict[str, list[str]]) -> Splits:
    """3D-R2N2's split: of each class the first 80 % of its sorted models train, the rest validates and tests."""
    cut = {name: int(TRAINED * len(found)) for name, found in models.items()}
    train = {name: sorted(found)[: cut[name]] for name, found in models.items()}
    test = {name: sorted(found)[cut[name] :] for name, found in models.items()}
    return {"train": train, "val": test, "test": test}


def _folders(place: Path) -> list[str]:
    """Sorted names of the folders in a folder but hidden ones; none if it is not there."""
    if not place.is_dir():
        return []
    with os.scandir(place) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
