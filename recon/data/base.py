"""The contract every dataset keeps, and what all datasets share.

A dataset is a list of named scenes. Per-scene methods and solvers take them one by one through `scene`; methods
that train over many scenes take batches through the loaders. Neither side knows the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from recon.errors import ConfigError, did_you_mean
from recon.observations import Observation, OrientedPoints, Points, Scene, Target

Split = Literal["train", "val", "test"]
Scenes = str | list[str] | None


@dataclass(frozen=True)
class Batch:
    """A collated batch: tensors of `observation` and `target` have a leading B; `index` is (B,) scene numbers."""

    observation: Observation
    target: Target | None
    index: Tensor

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with all its tensors on `device`; Lightning moves batches through this."""
        return replace(
            self,
            observation=_moved(self.observation, device),
            target=None if self.target is None else _moved(self.target, device),
            index=self.index.to(device),
        )


class ReconDataModule(pl.LightningDataModule):
    """Base of all datasets.

    Class attributes:
        may_give: observation types that data of this kind can hold, known before any file is read.

    Args:
        scene: name of the one scene to use, a list of several, or None for all of them.
        batch_size: scenes a batch (of all processes together), for methods that train over many.
        points: points drawn from a scene for such a batch.
        workers: loader processes.
        seed: of every draw; an item's is (seed, epoch, index).
    """

    may_give: ClassVar[tuple[type, ...]] = (OrientedPoints, Points)

    def __init__(
        self,
        scene: Scenes = None,
        batch_size: int = 1,
        points: int = 8000,
        workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.chosen = [scene] if isinstance(scene, str) else scene
        self.batch_size, self.points = batch_size, points
        self.workers, self.seed = workers, seed

    @property
    def gives(self) -> tuple[type, ...]:
        """Observation types that these data give; a dataset may have to look at its files to know."""
        return self.may_give

    def names(self, split: Split = "test") -> Sequence[str]:
        """Names of all scenes of a split, in order."""
        raise NotImplementedError

    def load(self, name: str, split: Split = "test") -> Scene:
        """One scene, in world coordinates; its target is a `Truth` where the truth is known."""
        raise NotImplementedError

    def selected(self, split: Split = "test") -> list[str]:
        """The names to work on: all of them, or those asked for.

        Raises:
            ConfigError: if `data.scene` names no scene of this split.
        """
        if self.chosen is None:
            return list(self.names(split))
        for name in self.chosen:
            self.check_scene(name, split)
        return list(self.chosen)

    def check_scene(self, name: str, split: Split = "test") -> None:
        """Raise a ConfigError if there is no scene of that name."""
        names = list(self.names(split))
        if name not in names:
            raise ConfigError(
                f"data.scene={name}: there is no such scene among {len(names)}.", did_you_mean(name, names)
            )

    def train_dataloader(self) -> DataLoader[Batch]:
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._loader("val")

    def _loader(self, split: Split) -> DataLoader[Batch]:
        items = SceneDataset(self, split)
        sampler = EpochSampler(items, self.batch_size, shuffle=split == "train", seed=self.seed, trainer=self.trainer)
        return DataLoader(
            items,  # type: ignore[arg-type] # torch types a loader by its items, not by its batches
            batch_size=sampler.batch,
            sampler=sampler,
            num_workers=self.workers,
            collate_fn=collate,
            drop_last=split == "train",
            persistent_workers=self.workers > 0,
        )


class EpochSampler(DistributedSampler[tuple[int, int]]):
    """Yields (epoch, index), so that an item's draw depends on nothing else: not on workers, not on a restart.

    Processes take turns along one order, so that together their batches are those of one process. A training that
    was broken off goes on with the rest of its epoch. It is a `DistributedSampler` because any other kind Lightning
    would wrap in one of its own, which hides the epoch.

    Args:
        items: what is numbered.
        batch_size: items a batch, of all processes together.
        shuffle: a new order and new draws each epoch, for training; else all epochs are the first.
        seed: of the orders.
        trainer: tells of the processes and of the batches done; None where there is but one process.
    """

    def __init__(
        self, items: SceneDataset, batch_size: int, shuffle: bool, seed: int, trainer: pl.Trainer | None = None
    ) -> None:
        rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        super().__init__(items, world, rank, shuffle, seed, drop_last=shuffle and len(items) >= world)
        self.batch = max(1, min(batch_size, len(items)) // world)
        self.trainer = trainer

    def __iter__(self) -> Iterator[tuple[int, int]]:
        done = 0
        if self.shuffle and self.trainer is not None:
            batches = self.trainer.fit_loop.epoch_loop.batch_progress.total.ready
            self.epoch, done = divmod(batches, len(self) // self.batch)
        rows = list(super().__iter__())[done * self.batch :]
        return iter([(self.epoch if self.shuffle else 0, row) for row in rows])  # type: ignore[misc] # torch: (int, int)


class SceneDataset(Dataset[Scene]):
    """Scenes of a split as items of a fixed number of points, normalised to the box of side 1.8."""

    def __init__(self, module: ReconDataModule, split: Split) -> None:
        self.module, self.split, self.names = module, split, module.selected(split)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: tuple[int, int]) -> Scene:
        epoch, index = key
        scene = self.module.load(self.names[index], self.split)
        assert isinstance(scene.observation, Points)
        whole = scene.observation.normalized("box", 1.8)
        mixed = (self.module.seed * 1_000_003 + epoch) * 1_000_003 + index
        draw = torch.Generator().manual_seed(mixed & (2**63 - 1))
        rows = torch.randint(len(whole.points), (self.module.points,), generator=draw)
        picked = {f.name: getattr(whole, f.name)[rows] for f in fields(whole) if f.name in ("points", "normals")}
        return replace(scene, observation=replace(whole, **picked), index=index)


def collate(scenes: Sequence[Scene]) -> Batch:
    """Stack the tensors of scenes that have the same shapes."""
    return Batch(
        _stacked([s.observation for s in scenes]),
        _stacked([s.target for s in scenes]) if scenes[0].target is not None else None,
        torch.tensor([s.index for s in scenes]),
    )


def _stacked(items: Sequence[Any]) -> Any:
    first = items[0]
    tensors = [f.name for f in fields(first) if isinstance(getattr(first, f.name), Tensor)]
    return replace(first, **{n: torch.stack([getattr(i, n) for i in items]) for n in tensors})


def _moved(item: Any, device: torch.device | str) -> Any:
    tensors = {f.name: getattr(item, f.name) for f in fields(item)}
    return replace(item, **{name: value.to(device) for name, value in tensors.items() if isinstance(value, Tensor)})


def folder(path: str | Path, what: str, make: str) -> Path:
    """The dataset's folder, if it is there.

    Raises:
        ConfigError: naming the command that makes or downloads it.
    """
    found = Path(path).expanduser()
    if not found.is_dir():
        raise ConfigError(f"{what}: the folder '{found}' is not there.", make)
    return found
