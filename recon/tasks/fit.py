"""Training through Lightning: the trainer, its checkpoints, and a resume that ends where an unbroken run ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader, IterableDataset

from recon.errors import CheckpointError, ConfigError
from recon.io.checkpoints import read_torch
from recon.tasks.folder import is_first_process

if TYPE_CHECKING:
    from recon.methods.base import Method

log = logging.getLogger("recon")
LAST, BEST = "last.ckpt", "best.ckpt"


class Steps(IterableDataset[int]):
    """The numbers of the steps that are still to be done: all a scene's fit needs, as its data lie on the device."""

    def __init__(self, total: int, done: Callable[[], int]) -> None:
        self.total, self.done = total, done

    def __len__(self) -> int:
        return self.total

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.done(), self.total))


class Kept(ModelCheckpoint):
    """Lightning's, for run folders that are moved: the files it remembers are looked for where the run lies now."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what an earlier process knew of the best checkpoint."""
        here = {k: self._here(state_dict[k]) for k in ("best_model_path", "kth_best_model_path", "last_model_path")}
        best = {self._here(file): score for file, score in state_dict["best_k_models"].items()}
        super().load_state_dict(state_dict | here | {"dirpath": self.dirpath, "best_k_models": best})

    def _here(self, file: str) -> str:
        return str(Path(str(self.dirpath)) / Path(file).name) if file else ""


def fit(cfg: DictConfig, method: Method, data: pl.LightningDataModule | None, folder: Path) -> None:
    """Train `method`, from its last checkpoint in `folder` if there is one.

    Args:
        cfg: the whole configuration.
        method: a per-scene method with its scene attached (then `data` is None), or any other trainable method.
        data: the dataset, for methods that train over many scenes.
        folder: where checkpoints and logs go.

    Raises:
        CheckpointError: if the last checkpoint is damaged, or is of a method with other options.
        KeyboardInterrupt: if the user interrupts; what was saved is kept.
    """
    last = folder / "checkpoints" / LAST
    if last.is_file():
        _announce(folder.name, _restored(method, last), planned_steps(cfg, method) if method.per_scene else None)
    threads = torch.get_num_threads()
    trainer = _trainer(cfg, method, folder)
    loaders = {"datamodule": data} if data is not None else _step_loaders(trainer, planned_steps(cfg, method))
    for logger in trainer.loggers:
        logger.log_hyperparams(OmegaConf.to_container(cfg, resolve=True))  # type: ignore[arg-type]
    try:
        trainer.fit(method, **loaders, ckpt_path=str(last) if last.is_file() else None, weights_only=True)
    except SystemExit as error:
        if trainer.interrupted:
            raise KeyboardInterrupt from error
        raise
    finally:
        torch.set_num_threads(threads)
    if trainer.interrupted:
        raise KeyboardInterrupt
    trainer.save_checkpoint(last, weights_only=False)
    for logger in trainer.loggers:
        logger.finalize("success")


def load_checkpoint(method: Method, folder: Path, keep: str) -> int:
    """Give `method` the weights of a fit, and return the step they are from.

    Args:
        method: built as it was for the fit.
        folder: of the fit.
        keep: ``"best"`` (falls back on the last where nothing was validated) or ``"last"``.

    Raises:
        CheckpointError: if there is no checkpoint or it does not suit the method.
    """
    files = [folder / "checkpoints" / name for name in ((BEST, LAST) if keep == "best" else (LAST,))]
    found = next((f for f in files if f.is_file()), None)
    if found is None:
        raise CheckpointError(f"{folder}: there is no checkpoint yet.", "Train first: `train run=FOLDER`.")
    return _restored(method, found)


def _restored(method: Method, file: Path) -> int:
    """Give `method` the weights in a checkpoint, and return the step they are from."""
    state = read_torch(file)
    method.on_load_checkpoint(state)
    try:
        method.load_state_dict(state["state_dict"])
    except RuntimeError as error:
        raise CheckpointError(
            f"{file}: its weights do not fit this method: {str(error).splitlines()[-1].strip()}",
            "Give the options that the run was made with (its config.yaml lists them).",
        ) from error
    return int(state["global_step"])


def _announce(name: str, step: int, total: int | None) -> None:
    if not is_first_process():
        return
    if total is not None and step >= total:
        log.info("%s: all %d steps are done; trainer.max_steps=NUMBER goes further", name, total)
    else:
        log.info("%s: goes on from step %d", name, step)


def steps_done(folder: Path) -> int:
    """The step of the last checkpoint in the folder of a fit."""
    last = folder / "checkpoints" / LAST
    return int(read_torch(last)["global_step"]) if last.is_file() else 0


def planned_steps(cfg: DictConfig, method: Method) -> int:
    """How many steps a fit is to have: as the trainer is told, else as the method's own schedule wants."""
    return int(cfg.trainer.max_steps or getattr(method, "steps", 0) or 1000)


def _step_loaders(trainer: pl.Trainer, total: int) -> dict[str, Any]:
    done = lambda: trainer.global_step * trainer.accumulate_grad_batches  # noqa: E731
    plain = {"batch_size": None, "num_workers": 0}
    return {
        "train_dataloaders": DataLoader(Steps(total * trainer.accumulate_grad_batches, done), **plain),  # type: ignore
        "val_dataloaders": DataLoader([0], **plain),  # type: ignore
    }


def _trainer(cfg: DictConfig, method: Method, folder: Path) -> pl.Trainer:
    options: dict[str, Any] = OmegaConf.to_container(cfg.trainer, resolve=True)  # type: ignore
    options.pop("_target_")
    options |= _devices(options)
    if method.per_scene or options["max_steps"] or (method.steps and not options["max_epochs"]):
        options["max_steps"], options["max_epochs"] = planned_steps(cfg, method), options["max_epochs"] or -1
    else:
        options["max_steps"], options["max_epochs"] = -1, options["max_epochs"] or method.epochs
    options |= _validation(options, method)
    try:
        return pl.Trainer(
            **options,
            logger=_logger(cfg, folder),
            callbacks=_callbacks(cfg, method, folder),
            default_root_dir=folder,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=not method.per_scene,
        )
    except MisconfigurationException as error:
        first = str(error).splitlines()[0]
        raise ConfigError(f"trainer: {first}", "See `recon doctor` for the devices of this machine.") from error


def _devices(options: dict[str, Any]) -> dict[str, Any]:
    """Where there are fewer GPUs than processes asked for, all of these work on the CPU, a thread each."""
    asked, there = options["devices"], torch.cuda.device_count()
    if options["accelerator"] != "auto" or not isinstance(asked, int) or asked <= max(there, 1):
        return {}
    if is_first_process():
        text = "trainer.devices=%d: there are %d GPUs, so that %d processes work on the CPU, with one thread each"
        log.info(text, asked, there, asked)
    torch.set_num_threads(1)
    return {"accelerator": "cpu"}


def _validation(options: dict[str, Any], method: Method) -> dict[str, Any]:
    """Per-scene fits are one long epoch, so that validations are counted in steps; a method may do without."""
    if not method.per_scene:
        every = options["val_check_interval"] or method.val_every
        if options["max_steps"] > 0 and isinstance(every, int):
            every = min(every, options["max_steps"])  # a short training is validated once, at its end
        by_steps = {"check_val_every_n_epoch": None} if isinstance(every, int) else {}
        return {"val_check_interval": every, **by_steps}
    if not method.validates:
        return {"limit_val_batches": 0, "val_check_interval": None}
    every = options["val_check_interval"] or max(1, options["max_steps"] // 20)
    return {"val_check_interval": every, "check_val_every_n_epoch": None}


def _callbacks(cfg: DictConfig, method: Method, folder: Path) -> list[Callback]:
    metric, mode = method.monitor
    every = int(cfg.checkpoint.every)
    plain: dict[str, Any] = {
        "dirpath": folder / "checkpoints",
        "enable_version_counter": False,
        "save_weights_only": False,
    }
    last = Kept(filename="last", every_n_train_steps=every, save_on_train_epoch_end=False, **plain)
    kept: list[Callback] = [last]
    if method.validates:
        kept.append(Kept(filename="best", monitor=metric, mode=mode, **plain))
    chosen = cfg.callbacks or {}
    return [*kept, *(instantiate(c, folder=str(folder)) for c in chosen.values() if c is not None)]


def _logger(cfg: DictConfig, folder: Path) -> Any:
    return False if cfg.logger is None else instantiate(cfg.logger, save_dir=str(folder))
