"""The folders of Occupancy Networks' layout: which models there are, and which of its files an item is drawn from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recon.data.loading import Split
from recon.errors import ConfigError, DataError, did_you_mean
from recon.io.splits import is_name, read_list, read_metadata

SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Model:
    """Where an item lies: its number in the split, class, and folder below the class's."""

    index: int
    group: str
    folder: str


class Layout:
    """``<root>/<class>/<model>/``, ``<root>/<class>/{train,val,test}.lst``, ``<root>/metadata.yaml``.

    Args:
        root: the folder of the classes.
        classes: folders or names of the classes wanted; None means all that have a list.
    """

    def __init__(self, root: Path, classes: Sequence[str] | None = None) -> None:
        self.root, self.classes = root, classes
        self._models: dict[Split, dict[str, Model]] = {}
        self._labels: dict[str, str] | None = None
        self._several: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._files: dict[tuple[str, str], tuple[str, ...]] = {}

    def model(self, name: str, split: Split) -> Model:
        """Where the item of this name lies.

        Raises:
            ConfigError: if the split has none.
        """
        models = self.models(split)
        if name not in models:
            raise ConfigError(f"There is no '{name}' among the {len(models)} of split '{split}'.", "See data.scene.")
        return models[name]

    def models(self, split: Split) -> dict[str, Model]:
        """Those of a split by name, class by class, in the order of the lists, which are read once.

        Raises:
            DataError: if a list is missing or damaged.
            ConfigError: if a wanted class is not there.
        """
        if split not in self._models:
            models: dict[str, Model] = {}
            for group in self._groups():
                for folder in self._list(group, split):
                    name = f"{group}_{folder}"
                    if name in models:
                        raise DataError(f"'{self.root}': two models would be called '{name}'.", "Rename one of them.")
                    models[name] = Model(len(models), group, folder)
            self._models[split] = models
        return self._models[split]

    def first_models(self) -> list[Model]:
        """Those of the first class, of whichever split.

        Raises:
            DataError: if there are none.
        """
        group = self._groups()[0]
        lists = (self.root / group / f"{split}.lst" for split in SPLITS)
        found = [Model(0, group, name) for file in lists if file.is_file() for name in read_list(file)]
        if not found:
            raise DataError(f"'{self.root / group}': its lists are empty.", "Name the class's models in them.")
        return found

    def file(self, model: Model, stem: str, rng: np.random.Generator) -> str:
        """One of the item's files of this stem; where there are several, their folder is listed but once.

        Raises:
            DataError: if that folder is empty.
        """
        base = f"{self.root}/{model.group}/{model.folder}"
        files = self._files.get((base, stem))
        if files is None:
            if not os.path.isdir(f"{base}/{stem}"):
                return f"{base}/{stem}.npz"
            files = tuple(sorted(f for f in os.listdir(f"{base}/{stem}") if f.startswith(stem) and f.endswith(".npz")))
            # Most items have the same names, which then take memory once.
            files = self._files[base, stem] = self._several.setdefault(files, files)
        if not files:
            raise DataError(f"'{base}/{stem}': this folder holds no .npz file.", "Download or make this item again.")
        return f"{base}/{stem}/{files[rng.integers(len(files))]}"

    def label(self, group: str) -> str:
        """What a class is called, by its folder's name where nothing else is known."""
        if self._labels is None:
            path = self.root / "metadata.yaml"
            self._labels = read_metadata(path) if path.is_file() else {}
        return self._labels.get(group, group)

    def _list(self, group: str, split: Split) -> list[str]:
        path = self.root / group / f"{split}.lst"
        if not path.is_file():
            raise DataError(
                f"'{path}': this list is missing.",
                f"Write the names of the class's folders into it that are for split '{split}', one a line (or none).",
            )
        return read_list(path)

    def _groups(self) -> list[str]:
        """The class folders: all that have a list, or those asked for by folder or by name."""
        there = sorted({f.parent.name for f in self.root.glob("*/*.lst") if is_name(f.parent.name)})
        if not there:
            raise DataError(
                f"'{self.root}': no folder in it has a train.lst, val.lst or test.lst.",
                "Give the folder of the classes as data.path, or make it: recon prepare.",
            )
        if self.classes is None:
            return there
        known = {group: group for group in there} | {self.label(group): group for group in there}
        for wanted in self.classes:
            if wanted not in known:
                raise ConfigError(f"data.classes: there is no '{wanted}'.", did_you_mean(wanted, known))
        return sorted({known[wanted] for wanted in self.classes})


def root_of(path: Path, published: str) -> Path:
    """The folder of the classes: `path`, or the folder in it that the published archive unpacks to."""
    inside = path / published
    return inside if inside.is_dir() else path
