"""What ALTO and Convolutional Occupancy Networks share: training, validation, and meshes from a trained network."""

from __future__ import annotations

import inspect
import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor

from recon.errors import CheckpointError, ConfigError
from recon.geometry.surface import Surface
from recon.geometry.windows import windowed_surface
from recon.io.checkpoints import existing_weights, load_state, read_torch
from recon.losses.occupancy import occupancy_loss
from recon.methods.base import Method
from recon.methods.placing import Place, Up, placed, upright
from recon.methods.schedules import cosine, scheduled
from recon.metrics.modules import OccupancyIoU
from recon.nets.alto_weights import read_authors
from recon.nets.occupancy_net import Latent, OccupancyNet
from recon.nets.pointnet import ResidualBlock
from recon.observations import Observation, Occupancies, Points

log = logging.getLogger("recon")


@dataclass(frozen=True)
class Settings:
    """What is no part of the network; `recon.methods.alto.ALTO` explains each.

    Attributes:
        lr: learning rate at the start.
        lr_epochs: epochs in which it falls to `lr_floor` along half a cosine; 0 keeps it.
        lr_floor: where it ends.
        val_every: steps between two validations.
        val_threshold: probability from which validation counts a point as inside.
        threshold: probability on the surface.
        normalize: how a cloud is brought into the network's cube.
        up: axis of the cloud that points up.
        points: drawn of a larger cloud, or None for all.
        compile: let torch.compile fuse small layers in training.
        seed: of the draw of `points`.
        window: side of the windows a scene is seen through, in the cloud's unit; 0: none.
        overlap: share of its side that a window has in common with the next.
    """

    lr: float = 1e-4
    lr_epochs: int = 2500
    lr_floor: float = 1e-8
    val_every: int = 10_000
    val_threshold: float = 0.2
    threshold: float = 0.5
    normalize: Place = "auto"
    up: Up = "y"
    points: int | None = None
    compile: bool = False
    seed: int = 0
    window: float = 0.0
    overlap: float = 0.25

    def __post_init__(self) -> None:
        for name in ("threshold", "val_threshold"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"method.{name}={getattr(self, name)}: it is a probability.", "Give one in (0, 1).")
        if self.window < 0 or not 0 < self.overlap <= 0.5:
            raise ConfigError(
                f"method.window={self.window} method.overlap={self.overlap}: scenes cannot be seen through these.",
                "Give a window of 0 (none) or more and an overlap in (0, 0.5].",
            )
        if self.val_every < 1 or (self.points is not None and self.points < 1):
            raise ConfigError("method.val_every and method.points must be positive.", "")


class OccupancyMethod(Method):
    """A network from a cloud to the occupancy of any point, trained over many shapes.

    Class attributes:
        alternating: whether its features go to and fro between points and grids.

    Args:
        net: the network.
        settings: all else.
    """

    monitor: ClassVar[tuple[str, Literal["min", "max"]]] = ("val/iou", "max")
    learns = Occupancies
    alternating: ClassVar[bool] = False

    def __init__(self, net: OccupancyNet, settings: Settings) -> None:
        super().__init__()
        self.net, self.settings = net, settings
        self.epochs = settings.lr_epochs or None
        self.val_every = settings.val_every
        self.iou = OccupancyIoU(threshold=logit(settings.val_threshold))

    @property
    def needs(self) -> tuple[type, ...]:
        return (Points,)

    def setup(self, stage: str) -> None:
        """Compile, if asked to, stacks of small layers; gathering and scattering rows is no work for a compiler."""
        if stage == "fit" and self.settings.compile:
            self.net.decoder.head.compile(dynamic=True)
            for part in self.net.points.modules():
                if isinstance(part, ResidualBlock):
                    part.compile(dynamic=True)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        asked = batch.target
        logits = self.net(batch.observation.points, asked.points)
        loss = occupancy_loss(logits, asked.inside)
        terms = {"train/loss": loss.detach(), "train/loss_per_point": loss.detach() / asked.inside.shape[1]}
        self.log_dict(terms, batch_size=len(logits))
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Count the IoU of every shape once; its points and queries are the same in every validation."""
        with torch.no_grad():  # the network then works through its queries in pieces that fit the cache
            logits = self.net(batch.observation.points, batch.target.points)
        # Where shapes do not divide among processes, some get one more that another process has.
        own = batch.index.cpu() % self.trainer.world_size == self.trainer.global_rank
        self.iou.update(logits.cpu()[own], batch.target.inside.cpu()[own])

    def on_validation_epoch_end(self) -> None:
        self.log("val/iou", self.iou.compute()["iou"].float(), sync_dist=True)
        self.iou.reset()

    def configure_optimizers(self) -> Any:
        s = self.settings
        adam = torch.optim.Adam(self.parameters(), lr=1.0, fused=True)
        schedule = partial(cosine, initial=s.lr, length=s.lr_epochs, floor=s.lr_floor)
        return scheduled(adam, [schedule], interval="epoch")

    def reconstruct(self, observation: Observation) -> Surface:
        assert isinstance(observation, Points)
        s = self.settings
        if s.window:
            return self._through_windows(upright(observation, s.up))
        scene = placed(observation, s.normalize, s.up)
        field = self._encoded(scene.points)
        corner = 0.5 * (1 + self.net.padding)
        return Surface(
            field,
            (-corner,) * 3,
            (corner,) * 3,
            kind="occupancy",
            level=logit(s.threshold),
            inside="above",
            frame=scene.frame,
            support=scene.points.float(),
            device=str(self.device),
        )

    def _encoded(self, points: Tensor) -> Field:
        """The field of one cloud in the network's cube, (N, 3)."""
        rows = thinned(len(points), self.settings.points, self.settings.seed)
        with torch.no_grad():
            latent = self.net.encode(points[rows.to(points.device)].float().to(self.device)[None])
            # A volume's answers are twelve times its features, and there may be many windows.
            prepare = latent.kind == "triplane" or not self.settings.window
            return Field(self.net, latent.prepared(self.net) if prepare else latent)

    def _through_windows(self, scene: Points) -> Surface:
        """The surface of a scene of any size, each window of which is a cube as the network knows it."""
        s = self.settings
        return windowed_surface(
            self._encoded,
            scene.points,
            scene.frame,
            s.window,
            s.overlap,
            level=logit(s.threshold),
            context=self.net.padding / 2,
            device=str(self.device),
        )

    @classmethod
    def from_weights(cls, path: str | Path, **changes: Any) -> Self:
        """This method around weights of the authors of ALTO or ConvONet (``model.pt``), or of a checkpoint of ours.

        The authors' files tell all but the resolution; their networks look neighbours up as ``legacy`` says.

        Raises:
            CheckpointError: if the file cannot be read, is of the other method, or no resolution is given for it.
        """
        kind, state, options = _ours(path) or cls._theirs(path, changes)
        known = inspect.signature(cls).parameters
        method = cls(**{**{k: v for k, v in options.items() if k in known}, **changes})
        load_state(method if kind == "ours" else method.net, state, path)
        return method

    @classmethod
    def _theirs(cls, path: str | Path, changes: dict[str, Any]) -> Weights:
        found = read_authors(path)
        if found.is_alto != cls.alternating:
            names = ("ConvONet", "ALTO")
            raise CheckpointError(
                f"'{path}' holds a network of {names[found.is_alto]}, not of {names[cls.alternating]}.",
                f"Use method={names[found.is_alto].lower()}.",
            )
        net, unused = found.net(changes.get("resolution"))
        if unused:
            log.info("%s: %d tensors that no output depends on are left out", path, len(unused))
        return "theirs", net.state_dict(), {**found.options, "compat": "released"}


Weights = tuple[Literal["ours", "theirs"], dict[str, Tensor], dict[str, Any]]


def _ours(path: str | Path) -> Weights | None:
    """Weights and options of a checkpoint of ours, or None for other files."""
    content = read_torch(existing_weights(path))
    if "pytorch-lightning_version" not in content:
        return None
    if "net.unet.final.weight" not in content.get("state_dict", {}):
        raise CheckpointError(f"'{path}' is a checkpoint of another method.", "Name the method it was made by.")
    return "ours", content["state_dict"], dict(content.get("hyper_parameters", {}))


def logit(probability: float) -> float:
    """The log odds of a probability."""
    return float(np.log(probability) - np.log1p(-probability))


def thinned(count: int, wanted: int | None, seed: int) -> Tensor:
    """Rows of `wanted` points out of `count`, each at most once; all of them if that is not fewer."""
    if wanted is None or wanted >= count:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:wanted]


@dataclass(frozen=True)
class Field:
    """Occupancy logits about one encoded cloud.

    Attributes:
        net: the network that encoded it.
        latent: of one cloud, prepared.
    """

    net: OccupancyNet
    latent: Latent

    def __call__(self, points: Tensor) -> Tensor:
        """(N,) at (N, 3) points."""
        return self.net.decode(self.latent, points[None])[0]

    @property
    def nbytes(self) -> int:
        """Bytes that are held for the cloud."""
        answers = self.latent.answers
        held = [self.latent.features, *([] if answers is None else [answers.read, answers.told])]
        return sum(tensor.nbytes for tensor in held)
