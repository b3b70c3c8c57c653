"""Choy et al. 2016, "3D-R2N2: A Unified Approach for Single and Multi-view 3D Object Reconstruction"."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from recon.errors import CheckpointError, ConfigError, TrainingError
from recon.geometry.voxel_surface import VoxelSurface
from recon.io.checkpoints import load_state, read_torch
from recon.losses.voxels import voxel_cross_entropy
from recon.methods.base import Compat, Method
from recon.methods.photographs import BACKGROUND, EXTENT, Appearance, Framing
from recon.methods.schedules import falling, scheduled
from recon.methods.view_scores import ViewScores
from recon.nets import convrnn
from recon.nets.convrnn import State
from recon.nets.r2n2_init import initialize_he
from recon.nets.r2n2_layout import LAYOUTS, Cell, Family
from recon.nets.r2n2_weights import load_r2n2
from recon.observations import Observation, Views, Voxels

DECAY = 5e-5  # of the authors' program; the port parses it and does not hand it on
GREYS: dict[Family, float] = {"original": 240 / 255, "torch": 0.0}
"""Backgrounds that others' weights were trained before: the port saw what is stored under alpha, most likely black."""
FRAMED = 0.7
"""Share of an image's side that ShapeNetRendering's objects take, about."""


class R2N2(Method):
    """Views through an encoder, one after another into a recurrent grid of cells, and from there to voxels.

    Trained over many objects; any number of views, in any order, of any object then gives its voxels.

    Args:
        family: ``torch``, the PyTorch port, or ``original``, the authors' program; their weights do not mix.
        cell: ``lstm`` (without an output gate) or ``gru``.
        kernel: 1 or 3: whether cells of the grid see their neighbours.
        residual: residual blocks (Res3D-GRU-3).
        image: side of the images in pixels; null means the family's, 128 or 127.
        encoder: channels of its blocks.
        feature: length of a view's feature vector.
        hidden: channels of a cell.
        grid: cells along a side.
        decoder: channels of its layers; null means 128, 128, 64, 32, halved for each further doubling.
        resolution: voxels along a side, of what is predicted and of the data: 32, 64 or 128.
        init: how weights start: as in the ``family``'s program; or ``he``, from which narrow networks learn far sooner.
        lr: learning rate of Adam, at the start.
        lr_drops: how many epochs or steps are done when it falls.
        lr_factor: what it is then multiplied by.
        lr_unit: whether `lr_drops` and `length` count epochs or steps.
        length: of a training that the trainer is told nothing of.
        weight_decay: added to the gradients of all but biases; null means 5e-5, and none for ``compat=released`` of
            the port, which forgets it.
        max_loss: a training whose loss is larger (the authors': 2) or not a number is stopped; null: only the latter.
        val_every: steps between two validations; null means one an epoch.
        sweep: thresholds that validation tries; which is best is logged as ``val/best_threshold``.
        threshold: probability from which a voxel is occupied; null means the best one of the last validation.
        margin: space left about the subject of a photograph on each side, in its longest sides; null means as much as
            training images have.
        background: grey, 0 to 255, put around the subject of a photograph; null means that of the training.
        carry_state: start each batch from the state that the last one left, of other objects, as the port does in
            training and in its own scores. A resumed training starts from zeros.
        compat: ``released`` trains as the published program of the family.
    """

    monitor: ClassVar[tuple[str, Literal["min", "max"]]] = ("val/iou", "max")
    learns = Voxels
    untold: ClassVar[tuple[str, ...]] = ("cell",)
    best_threshold: Tensor

    def __init__(
        self,
        family: Family = "torch",
        cell: Cell = "lstm",
        kernel: int = 3,
        residual: bool = False,
        image: int | None = None,
        encoder: Sequence[int] = (96, 128, 256, 256, 256, 256),
        feature: int = 1024,
        hidden: int = 128,
        grid: int = 4,
        decoder: Sequence[int] | None = None,
        resolution: int = 32,
        init: Literal["family", "he"] = "family",
        lr: float = 1e-4,
        lr_drops: Sequence[int] = (2, 9, 19, 49),
        lr_factor: float = 0.5,
        lr_unit: Literal["epoch", "step"] = "epoch",
        length: int = 60,
        weight_decay: float | None = None,
        max_loss: float | None = None,
        val_every: int | None = None,
        sweep: Sequence[float] = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5),
        threshold: float | None = 0.4,
        margin: float | None = None,
        background: int | None = None,
        carry_state: bool = False,
        compat: Compat = None,
    ) -> None:
        super().__init__()
        if threshold is not None and not 0 < threshold < 1:
            raise ConfigError(f"method.threshold={threshold}: it is a probability.", "Give one in (0, 1), or null.")
        if margin is not None and margin < 0:
            raise ConfigError(f"method.margin={margin}: the subject would be cut.", "Give 0 or more.")
        self.save_hyperparameters(logger=False)
        self.net = convrnn.R2N2(
            family, cell, kernel, residual, image, encoder, feature, hidden, grid, decoder, resolution
        )
        if init == "he":
            initialize_he(self.net)
        self.side = image or LAYOUTS[family].image
        self.lr, self.lr_drops, self.lr_factor, self.lr_unit = lr, tuple(lr_drops), lr_factor, lr_unit
        self.epochs, self.steps = (length, None) if lr_unit == "epoch" else (None, length)
        forgotten = compat == "released" and family == "torch"
        self.weight_decay = (0.0 if forgotten else DECAY) if weight_decay is None else weight_decay
        self.max_loss, self.val_every, self.sweep = max_loss, val_every, tuple(sweep)
        self.threshold, self.margin, self.background = threshold, margin, background
        self.carry_state = carry_state
        self.appearance = Appearance()
        self.register_buffer("best_threshold", torch.tensor(0.4))
        self._state: State | None = None
        self._scores = ViewScores(self.sweep)

    @property
    def needs(self) -> tuple[type, ...]:
        return (Views,)

    @property
    def level(self) -> float:
        """The probability from which a voxel is occupied."""
        return float(self.best_threshold) if self.threshold is None else self.threshold

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images = self._fitting(batch.observation.rgb)
        self.appearance.update(images.flatten(0, 1))
        loss = voxel_cross_entropy(self._predicted(images)[:, -1].float(), self._grids(batch))
        self._check(loss.detach())
        self.log("train/loss", loss.detach(), batch_size=len(images))
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Score every object once, after each of its views."""
        images = self._fitting(batch.observation.rgb)
        with torch.no_grad():
            logits = self._predicted(images, every=True).float().cpu()
        grids, labels = self._grids(batch).cpu(), batch.category or ("",) * len(logits)
        # Where objects do not divide among processes, some get one more that another process has.
        world, rank = (self.trainer.world_size, self.trainer.global_rank) if self._trainer else (1, 0)
        for index, label, one, true in zip(batch.index.tolist(), labels, logits, grids, strict=True):
            if index % world == rank:
                self._scores.add(label, one, true, self.level)

    def on_validation_epoch_end(self) -> None:
        means, best = self._scores.means()
        self._scores = ViewScores(self.sweep)
        if best is not None:
            self.best_threshold.fill_(best)
        means["best_threshold"] = float(self.best_threshold)
        self.log_dict({f"val/{name}": value for name, value in means.items()}, sync_dist=True)  # the same everywhere

    def configure_optimizers(self) -> Any:
        """Adam with L2 on all but biases, in the gradient, as in the authors' program."""
        named = list(self.named_parameters())
        groups = [
            {"params": [p for name, p in named if not name.endswith("bias")], "weight_decay": self.weight_decay},
            {"params": [p for name, p in named if name.endswith("bias")], "weight_decay": 0.0},
        ]
        schedule = partial(falling, initial=self.lr, drops=self.lr_drops, factor=self.lr_factor)
        return scheduled(torch.optim.Adam(groups, lr=1.0, fused=True), [schedule] * 2, self.lr_unit)

    def reconstruct(self, observation: Observation) -> VoxelSurface:
        assert isinstance(observation, Views)
        images = self.seen(observation)
        with torch.no_grad():
            logits = self._predicted(images[None].to(self.device), every=True)[0].float()
        return VoxelSurface.of(logits[:, 1] - logits[:, 0], images, self.level, observation.frame)

    def seen(self, views: Views) -> Tensor:
        """Views (V, 3, S, S) in [0, 1] as the network wants them; `warnings` then says what is odd about them.

        Images of just the network's size are taken as prepared, as those of datasets are.
        """
        self.warnings = ()
        if tuple(views.images.shape[-2:]) == (self.side, self.side):
            return views.rgb.cpu()
        images, warnings = self.framing().prepared(views)
        for number, image in enumerate(images):
            name = views.view_names[number] if number < len(views.view_names) else str(number + 1)
            unlike = self.appearance.unlike(image)
            warnings += [f"view {name} does not look like the training data: {text}" for text in unlike]
        self.warnings = tuple(warnings)
        return images

    def framing(self) -> Framing:
        """How photographs are prepared: as the options say, else as training images were, else as the family's."""
        family: Family = self.net.family
        background = self.appearance.trait(BACKGROUND, GREYS[family])
        extent = self.appearance.trait(EXTENT, FRAMED)
        return Framing(
            self.side,
            background if self.background is None else self.background / 255,
            min(max(extent, 0.3), 0.95) if self.margin is None else 1 / (1 + 2 * self.margin),
        )

    @classmethod
    def from_weights(cls, path: str | Path, **changes: Any) -> Self:
        """This method around weights of the port (three files or one), of the authors (``.npy``), or of ours.

        The authors' files do not tell LSTM from GRU: `cell` does; all else is as the file says.

        Raises:
            CheckpointError: if the file cannot be read or is of another method.
        """
        ours = _ours(Path(path).expanduser())
        options, state = ours or load_r2n2(path)
        if "cell" in options:
            changes.pop("cell", None)
        known = inspect.signature(cls).parameters
        method = cls(**{**{k: v for k, v in options.items() if k in known}, **changes})
        load_state(method if ours else method.net, state, path)
        return method

    def _predicted(self, images: Tensor, every: bool = False) -> Tensor:
        """(B, V, 2, n, n, n) logits after each view, or (B, 1, 2, n, n, n) after all, from zeros or a carried state."""
        before = self._state if self.carry_state else None
        if before is not None and len(before[0]) != len(images):
            before = None
        logits, state = self.net(images, before, every)
        if self.carry_state:
            self._state = tuple(part.detach() for part in state)
        return logits if every else logits[:, None]

    def _fitting(self, images: Tensor) -> Tensor:
        """Images of a batch, if they are of the network's size."""
        if tuple(images.shape[-2:]) != (self.side, self.side):
            raise ConfigError(
                f"The views are {images.shape[-1]} x {images.shape[-2]} pixels; this network wants {self.side}^2.",
                f"Give data.crop={self.side}, or method.image={images.shape[-1]}.",
            )
        return images

    def _grids(self, batch: Any) -> Tensor:
        grid: Tensor = batch.target.grid
        if grid.shape[-1] != self.net.resolution:
            raise ConfigError(
                f"The data have {grid.shape[-1]}^3 voxels; this network predicts {self.net.resolution}^3.",
                f"Give method.resolution={grid.shape[-1]}.",
            )
        return grid

    def _check(self, loss: Tensor) -> None:
        """Stop, in all processes alike, a training that diverges."""
        mean = loss if self._trainer is None else self.trainer.strategy.reduce(loss.clone(), reduce_op="mean")
        value, limit = float(mean), float("inf") if self.max_loss is None else self.max_loss
        if value < float("inf") and value <= limit:
            return
        step = self.global_step if self._trainer else 0
        raise TrainingError(
            f"The training diverged: its loss is {value:.3g} at step {step}"
            + (f", more than method.max_loss={limit:g}." if value > limit else "."),
            "Lower method.lr, or set trainer.gradient_clip_val=1; the last checkpoint is from before.",
        )


def _ours(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Options and weights of a checkpoint of ours; None for other files."""
    if not path.is_file() or path.suffix == ".npy":
        return None
    content = read_torch(path)
    if "pytorch-lightning_version" not in content:
        return None
    if "net.recurrence.neighbours.weight" not in content.get("state_dict", {}):
        raise CheckpointError(f"'{path}' is a checkpoint of another method.", "Name the method it was made by.")
    return dict(content.get("hyper_parameters", {})), content["state_dict"]
