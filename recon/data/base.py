"""The contract every dataset keeps, and what all datasets share.

A dataset is a list of named scenes. Per-scene methods and solvers take them whole and one by one through `load`;
methods that train over many take batches of `item` through the loaders. Neither side knows the other.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypedDict, Unpack

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from recon.data.loading import Batch, Draw, EpochSampler, SceneDataset, SceneLoader, Split, gather
from recon.errors import ConfigError, DataError, did_you_mean
from recon.observations import OrientedPoints, Points, Scene

Scenes = str | list[str] | None
OnError = Literal["raise", "skip"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

log = logging.getLogger("recon")


class Shared(TypedDict, total=False):
    """Options of every dataset; `ReconDataModule` explains them, conf/data/_shared.yaml gives their defaults."""

    scene: Scenes
    batch_size: int
    points: int
    workers: int
    seed: int
    on_error: OnError
    max_skipped: float


class ReconDataModule(pl.LightningDataModule):
    """Base of all datasets.

    Class attributes:
        may_give: observation types that data of this kind can hold, known before any file is read.
        may_target: targets that methods can be trained towards with these data.

    Attributes:
        observation: the observation type that is wanted, or None for the first of `gives`.
        target: the target type that is wanted, or None.
        skipped: what was wrong with items that were left out, by their names.

    Args:
        scene: name of the one scene to use, a list of several, or None for all of them.
        batch_size: scenes a batch (of all processes together), for methods that train over many.
        points: points drawn from a scene for such a batch.
        workers: loader processes.
        seed: of every draw; an item's is (seed, epoch, index).
        on_error: what a damaged file means: ``raise`` stops, ``skip`` goes on without it, counts it and reports it.
        max_skipped: share of the items that may be skipped before that, too, is an error.
    """

    may_give: ClassVar[tuple[type, ...]] = (OrientedPoints, Points)
    may_target: ClassVar[tuple[type, ...]] = ()

    def __init__(self, **shared: Unpack[Shared]) -> None:
        super().__init__()
        options: Shared = {**DEFAULTS, **shared}
        scene = options["scene"]
        self.chosen = [scene] if isinstance(scene, str) else scene
        self.batch_size, self.points = options["batch_size"], options["points"]
        self.workers, self.seed = options["workers"], options["seed"]
        self.on_error, self.max_skipped = options["on_error"], options["max_skipped"]
        self.observation: type | None = None
        self.target: type | None = None
        self.skipped: dict[str, str] = {}

    @property
    def gives(self) -> tuple[type, ...]:
        """Observation types that these data give; a dataset may have to look at its files to know."""
        return self.may_give

    def use(self, observation: type, target: type | None = None) -> None:
        """Be told, before anything is loaded, which of `gives` and `may_target` is wanted."""
        self.observation, self.target = observation, target

    def names(self, split: Split = "test") -> Sequence[str]:
        """Names of all scenes of a split, in order; fit for names of folders."""
        raise NotImplementedError

    def load(self, name: str, split: Split = "test") -> Scene:
        """One whole scene, in world coordinates; its target is a `Truth` where the truth is known."""
        raise NotImplementedError

    def item(self, name: str, split: Split, draw: Draw) -> Scene:
        """One item of a batch, in local coordinates; those of one batch have the same shapes.

        Here: `points` of the scene, which is normalised to the box of side 1.8.
        """
        scene = self.load(name, split)
        assert isinstance(scene.observation, Points)
        whole = scene.observation.normalized("box", 1.8)
        rows = torch.randint(len(whole.points), (self.points,), generator=draw.torch())
        picked = {f.name: getattr(whole, f.name)[rows] for f in fields(whole) if f.name in ("points", "normals")}
        return replace(scene, observation=replace(whole, **picked), target=None)

    def selected(self, split: Split = "test") -> list[str]:
        """The names to work on: all of them, or those asked for. Of the splits only ``val`` may be empty.

        Raises:
            ConfigError: if `data.scene` names no scene of this split, or the split has none.
        """
        if self.chosen is None:
            names = list(self.names(split))
            if not names and split != "val":
                raise ConfigError(
                    f"The {split} split of these data is empty; {self._elsewhere()}.",
                    "Put scenes into it, or take one of another split.",
                )
            return names
        for name in self.chosen:
            self.check_scene(name, split)
        return list(self.chosen)

    def check_scene(self, name: str, split: Split = "test") -> None:
        """Raise a ConfigError if there is no scene of that name."""
        names = list(self.names(split))
        if name in names:
            return
        if any(name in self.names(other) for other in SPLITS):
            raise ConfigError(f"data.scene={name}: it is not in the {split} split.", did_you_mean(name, names))
        raise ConfigError(f"data.scene={name}: there is no such scene among {len(names)}.", did_you_mean(name, names))

    def _elsewhere(self) -> str:
        return ", ".join(f"{split} has {len(self.names(split))}" for split in SPLITS)

    def train_dataloader(self) -> DataLoader[Batch]:
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._loader("val")

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Note, in the process that trains, what workers had to skip."""
        for name, reason in batch.skipped if isinstance(batch, Batch) else ():
            self.skip(name, reason)
        return batch

    def skip(self, name: str, reason: str) -> None:
        """Count a damaged item, and tell of it once.

        Raises:
            DataError: if there are now more of them than `max_skipped` allows.
        """
        if name not in self.skipped:
            self.skipped[name] = reason
            log.warning("skipped %s: %s", name, reason)
            self.check_skipped(len(self.skipped))

    def check_skipped(self, count: int) -> None:
        """Raise a DataError if `count` damaged items are too many."""
        total = max(len(self.chosen or self.names(split)) for split in SPLITS)
        if count > max(self.max_skipped * total, 1 if self.max_skipped else 0):
            raise DataError(
                f"{count} items are damaged, of at most {total}; data.max_skipped={self.max_skipped} allows fewer.",
                f"Mend or remove them, or allow more. The latest: {next(reversed(self.skipped.values()), 'see above')}",
            )

    def _loader(self, split: Split) -> DataLoader[Batch]:
        items = SceneDataset(self, split)
        sampler = EpochSampler(items, self.batch_size, shuffle=split == "train", seed=self.seed, trainer=self.trainer)
        return SceneLoader(
            items,  # type: ignore[arg-type] # torch types a loader by its items, not by its batches
            batch_size=sampler.batch,
            sampler=sampler,
            num_workers=self.workers,
            collate_fn=gather,
            drop_last=split == "train",
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )


DEFAULTS: Shared = {
    "scene": None,
    "batch_size": 1,
    "points": 8000,
    "workers": 0,
    "seed": 0,
    "on_error": "raise",
    "max_skipped": 0.01,
}


def folder(path: str | Path, what: str, make: str) -> Path:
    """The dataset's folder, if it is there.

    Raises:
        ConfigError: naming the command that makes or downloads it.
    """
    found = Path(path).expanduser()
    if not found.is_dir():
        raise ConfigError(f"{what}: the folder '{found}' is not there.", make)
    return found
