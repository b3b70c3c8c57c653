"""From a dataset's items to batches: draws that depend on nothing but their numbers, and damaged items that count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler, get_worker_info

from recon.errors import DataError, ReconError
from recon.observations import Observation, Scene, Target

if TYPE_CHECKING:
    from recon.data.base import ReconDataModule

Split = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Batch:
    """A collated batch: tensors of `observation` and `target` have a leading B; `index` is (B,) scene numbers.

    Attributes:
        observation: of all its items.
        target: of all its items, or None.
        index: (B,) numbers of the items in their split.
        skipped: damaged items that others stand for.
        category: classes of the items, for tables.
    """

    observation: Observation
    target: Target | None
    index: Tensor
    skipped: tuple[tuple[str, str], ...] = ()
    category: tuple[str, ...] = ()

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with all its tensors on `device`; Lightning moves batches through this."""
        return self._mapped(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The same batch in memory from which a GPU copies at full speed; loaders call this."""
        return self._mapped(lambda tensor: tensor.pin_memory())

    def _mapped(self, change: Any) -> Batch:
        target = None if self.target is None else _changed(self.target, change)
        return replace(self, observation=_changed(self.observation, change), target=target, index=change(self.index))


@dataclass(frozen=True)
class Draw:
    """Which item is drawn, and thereby all its random numbers: not the worker, not the process, not a restart.

    Attributes:
        seed: of the dataset.
        epoch: the pass over the data; validation is always epoch 0.
        index: the item's number in its split.
        batch: the batch's number in the epoch, over all processes.
    """

    seed: int
    epoch: int
    index: int
    batch: int = 0

    def rng(self) -> np.random.Generator:
        """The random numbers of this item."""
        return np.random.default_rng([self.seed, self.epoch, self.index])

    def batch_rng(self) -> np.random.Generator:
        """Random numbers that all items of a batch share: how many views they have, say."""
        return np.random.default_rng([self.seed, self.epoch, self.batch, 0xBA7C])

    def torch(self) -> torch.Generator:
        """The random numbers of this item, from torch."""
        mixed = (self.seed * 1_000_003 + self.epoch) * 1_000_003 + self.index
        return torch.Generator().manual_seed(mixed & (2**63 - 1))


class EpochSampler(DistributedSampler[tuple[int, int, int]]):
    """Yields (epoch, index, batch), so that an item's draw depends on nothing else: not on workers, not on a restart.

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

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        done = 0
        if self.shuffle and self.trainer is not None:
            batches = self.trainer.fit_loop.epoch_loop.batch_progress.total.ready
            self.epoch, done = divmod(batches, len(self) // self.batch)
        epoch = self.epoch if self.shuffle else 0
        order = [(epoch, int(row), place // self.batch) for place, row in enumerate(super().__iter__())]  # type: ignore
        return iter(order[done * self.batch :])


class SceneDataset(Dataset[Scene | ReconError]):
    """The items of a split. A damaged one is an error, or the next stands for it and tells (``data.on_error=skip``).

    A worker process gives an error in place of the item, for `SceneLoader` to raise: torch would raise one whose only
    text is the worker's traceback.
    """

    def __init__(self, module: ReconDataModule, split: Split) -> None:
        self.module, self.split, self.names = module, split, module.selected(split)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: tuple[int, int, int]) -> Scene | ReconError:
        if get_worker_info() is None:
            return self._read(*key)
        try:
            return self._read(*key)
        except ReconError as error:
            return error

    def _read(self, epoch: int, first: int, batch: int) -> Scene:
        skipped: list[tuple[str, str]] = []
        for row in (*range(first, len(self)), *range(first)):
            try:
                scene = self.module.item(self.names[row], self.split, Draw(self.module.seed, epoch, row, batch))
                return replace(scene, index=row, skipped=tuple(skipped))
            except DataError as error:
                if self.module.on_error == "raise":
                    raise
                skipped.append((self.names[row], error.what))
                self.module.check_skipped(len(skipped))
        raise DataError(f"None of the {len(self)} items of this split can be read.", skipped[0][1])


class SceneLoader(DataLoader[Batch]):
    """A loader that raises what its workers found wrong as it was."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override] # torch names its own iterator
        return map(_sound, super().__iter__())


def _sound(batch: Batch | ReconError) -> Batch:
    if isinstance(batch, ReconError):
        raise batch
    return batch


def gather(scenes: Sequence[Scene | ReconError]) -> Batch | ReconError:
    """What a worker sends: the batch of its scenes, or the first error among them."""
    error = next((scene for scene in scenes if isinstance(scene, ReconError)), None)
    return error or collate([scene for scene in scenes if isinstance(scene, Scene)])


def collate(scenes: Sequence[Scene]) -> Batch:
    """Stack the tensors of scenes that have the same shapes."""
    return Batch(
        _stacked([s.observation for s in scenes]),
        _stacked([s.target for s in scenes]) if scenes[0].target is not None else None,
        torch.tensor([s.index for s in scenes]),
        tuple(item for s in scenes for item in s.skipped),
        tuple(s.category for s in scenes),
    )


def _stacked(items: Sequence[Any]) -> Any:
    first = items[0]
    tensors = [f.name for f in fields(first) if isinstance(getattr(first, f.name), Tensor)]
    return replace(first, **{n: torch.stack([getattr(i, n) for i in items]) for n in tensors})


def _changed(item: Any, change: Any) -> Any:
    tensors = {f.name: getattr(item, f.name) for f in fields(item)}
    return replace(item, **{name: change(value) for name, value in tensors.items() if isinstance(value, Tensor)})
