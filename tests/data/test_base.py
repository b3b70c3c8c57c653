"""Loaders of many scenes: every epoch draws anew, processes share batches, a resume does the rest of its epoch."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DistributedSampler

from recon.data.base import ReconDataModule
from recon.data.loading import Draw
from recon.data.shapes import Shapes
from recon.errors import ConfigError, DataError
from recon.observations import Points, Scene
from recon.tasks.build import build


def data(**changes: Any) -> ReconDataModule:
    return Shapes(**{"train_scenes": 7, "val_scenes": 3, "samples": 200, "points": 32, "resolution": 16, **changes})


def batches_of(rank: int, world: int, split: str = "train", done: int = 0) -> list[list[tuple[int, int, int]]]:
    """The (epoch, index, batch) of every item of every batch that a process gets after it has done some."""
    module = data(batch_size=4)
    progress = SimpleNamespace(total=SimpleNamespace(ready=done))
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress))
    module.trainer = SimpleNamespace(global_rank=rank, world_size=world, fit_loop=loop)  # type: ignore[assignment]
    loader = getattr(module, f"{split}_dataloader")()
    assert isinstance(loader.sampler, DistributedSampler)  # or Lightning would wrap it
    return list(loader.batch_sampler)


def test_two_processes_share_the_batches_of_one() -> None:
    for epoch in (0, 3):
        alone, first, second = (batches_of(r, w, done=epoch) for r, w in ((0, 1), (0, 2), (1, 2)))
        assert [len(b) for b in alone] == [4]
        assert [sorted(a + b) for a, b in zip(first, second, strict=True)] == [sorted(b) for b in alone]
        assert {e for batch in alone for e, _, _ in batch} == {epoch}
    assert [i for _, i, _ in batches_of(0, 1, done=0)[0]] != [i for _, i, _ in batches_of(0, 1, done=3)[0]]
    seen = {item for rank in (0, 1) for batch in batches_of(rank, 2, "val", done=5) for item in batch}
    assert {(e, i) for e, i, _ in seen} == {(0, 0), (0, 1), (0, 2)}


class Watcher(pl.LightningModule):
    """Notes what it is given."""

    def __init__(self, stop: int | None) -> None:
        super().__init__()
        self.stop = stop
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[int, list[int], float]] = []
        self.validated: list[int] = []

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        if self.global_step == self.stop:
            raise KeyboardInterrupt
        self.seen.append((self.global_step, batch.index.tolist(), float(batch.observation.points.double().sum())))
        return self.weight.sum()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.validated.append(self.global_step)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def watch(folder: Path, steps: int, stop: int | None = None, last: Path | None = None) -> Watcher:
    """A fit of epochs of three batches, interrupted at step `stop`; ``last.ckpt`` is from its last step."""
    watcher = Watcher(stop)
    trainer = pl.Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        callbacks=[ModelCheckpoint(folder, "last", every_n_train_steps=1, save_on_train_epoch_end=False)],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
    try:
        trainer.fit(watcher, datamodule=data(batch_size=2), ckpt_path=last, weights_only=True)
    except SystemExit:
        assert trainer.interrupted
    else:
        trainer.save_checkpoint(folder / "last.ckpt")
    return watcher


@pytest.mark.parametrize("stop", [1, 2, 3, 4, 5])
def test_a_resume_goes_on_where_the_epoch_was_broken_off(tmp_path: Path, stop: int) -> None:
    unbroken = watch(tmp_path / "a", 8)
    assert len({total for _, _, total in unbroken.seen}) == 8
    broken = watch(tmp_path / "b", 8, stop=stop)
    resumed = watch(tmp_path / "b", 8, last=tmp_path / "b" / "last.ckpt")
    assert resumed.seen == unbroken.seen[stop:]
    assert {*broken.validated, *resumed.validated} == {*unbroken.validated}


def test_a_finished_fit_goes_on_where_it_ended(tmp_path: Path) -> None:
    unbroken = watch(tmp_path / "a", 8)
    watch(tmp_path / "b", 5)
    longer = watch(tmp_path / "b", 8, last=tmp_path / "b" / "last.ckpt")
    assert longer.seen == unbroken.seen[5:]


def test_one_scene_several_or_all() -> None:
    assert Shapes(scene="torus").selected() == ["torus"]
    assert Shapes(scene=["torus", "blobs_007"]).selected() == ["torus", "blobs_007"]
    assert len(Shapes().selected()) == 15
    with pytest.raises(ConfigError, match=r"data\.scene=torrus.*no such shape"):
        Shapes(scene=["torus", "torrus"]).selected()


def test_a_list_of_scenes_is_a_value_of_the_command_line() -> None:
    node = OmegaConf.create({"_target_": "recon.data.shapes.Shapes", "scene": ["torus", "knot"]})
    assert build(node, "data").selected() == ["torus", "knot"]


class Damaged(ReconDataModule):
    """Ten scenes, some of which cannot be read."""

    def __init__(self, damaged: tuple[str, ...], **shared: Any) -> None:
        super().__init__(**shared)
        self.damaged = damaged

    def names(self, split: str = "test") -> list[str]:
        return [f"s{i}" for i in range(10)]

    def item(self, name: str, split: str, draw: Draw) -> Scene:
        if name in self.damaged:
            raise DataError(f"'{name}.npz': field 'points' is missing.", "Download it again.")
        return Scene(Points(torch.full((2, 3), float(name[1:])), name=name))


def read_all(module: ReconDataModule) -> list[list[int]]:
    return [module.on_before_batch_transfer(b, 0).index.tolist() for b in module.val_dataloader()]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_item_is_an_error_that_names_it(workers: int) -> None:
    with pytest.raises(DataError) as caught:
        read_all(Damaged(("s3",), batch_size=2, workers=workers))
    assert caught.value.what == "'s3.npz': field 'points' is missing."  # without the worker's traceback
    assert caught.value.mend == "Download it again."


@pytest.mark.parametrize("workers", [0, 1])
def test_skipped_items_are_counted_and_others_stand_for_them(workers: int) -> None:
    module = Damaged(("s3", "s4"), batch_size=5, on_error="skip", max_skipped=0.2, workers=workers)
    assert read_all(module) == [[0, 1, 2, 5, 5], [5, 6, 7, 8, 9]]
    assert set(module.skipped) == {"s3", "s4"}
    assert "points" in module.skipped["s3"]


def test_more_damaged_items_than_allowed_are_an_error() -> None:
    with pytest.raises(DataError, match=r"3 items are damaged.*max_skipped=0\.2"):
        read_all(Damaged(("s1", "s4", "s8"), on_error="skip", max_skipped=0.2))
    with pytest.raises(DataError, match="damaged"):
        read_all(Damaged(tuple(f"s{i}" for i in range(10)), on_error="skip"))


def test_items_of_a_batch_share_draws_and_have_their_own() -> None:
    a, b = Draw(1, 2, 3, 4), Draw(1, 2, 5, 4)
    assert a.batch_rng().integers(10**9) == b.batch_rng().integers(10**9)
    assert a.rng().integers(10**9) != b.rng().integers(10**9)
    assert Draw(1, 2, 3, 5).batch_rng().integers(10**9) != a.batch_rng().integers(10**9)
    assert torch.rand(1, generator=a.torch()) == torch.rand(1, generator=Draw(1, 2, 3, 9).torch())


class Parted(ReconDataModule):
    """One scene, to train on."""

    def names(self, split: str = "test") -> list[str]:
        return ["a"] if split == "train" else []


def test_an_empty_split_and_a_scene_of_another_are_told() -> None:
    with pytest.raises(ConfigError, match=r"test split.*empty; train has 1"):
        Parted().selected()
    with pytest.raises(ConfigError, match=r"data\.scene=a: it is not in the test split"):
        Parted(scene="a").selected()
    assert Parted().selected("val") == []
    assert Parted().selected("train") == ["a"]
