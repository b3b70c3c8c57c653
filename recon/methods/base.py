"""The contract every method keeps (design: docs/new_method.md), and what all methods share.

A method is a `Method` with a typed ``__init__``: its signature is the schema of its yaml. It says what it needs,
trains (unless it solves), and turns an observation into a `Surface`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import pytorch_lightning as pl
import torch

from recon.errors import CheckpointError
from recon.geometry.frames import Fit, Frame
from recon.geometry.mesh_surface import MeshSurface
from recon.geometry.surface import Surface
from recon.observations import Observation, OrientedPoints, Points

Compat = Literal["released"] | None
Preview = Callable[[str, Surface], None]


class Method(pl.LightningModule):
    """Base of all methods.

    Class attributes:
        monitor: the logged value that picks the best checkpoint, and ``"min"`` or ``"max"``.
        per_scene: one fit a scene; `attach` gives the scene before the fit.
        fit_free: `reconstruct` solves; there is nothing to train.
        learns: the target type it is trained towards, or None if observations are enough.
        untold: options that others' weights do not tell of, so that `from_weights` is given those of the preset.

    Attributes:
        observation: the scene a per-scene method is fitted to, normalised.
        steps: length of a fit where the trainer is not told one, or None for a thousand.
        epochs: the same for a method that trains over many scenes, in passes over them; None leaves it to the trainer.
        val_every: steps between two validations where the trainer is not told, or None for one a pass over the scenes.
        warnings: what the user should know about the last reconstruction.
        preview: called with (what it is, a surface) by methods that can show something before they are done.
    """

    monitor: ClassVar[tuple[str, Literal["min", "max"]]] = ("val/loss", "min")
    per_scene: ClassVar[bool] = False
    fit_free: ClassVar[bool] = False
    learns: ClassVar[type | None] = None
    untold: ClassVar[tuple[str, ...]] = ()

    observation: Observation | None = None
    steps: int | None = None
    epochs: int | None = None
    val_every: int | None = None
    warnings: tuple[str, ...] = ()
    preview: Preview | None = None

    @classmethod
    def from_weights(cls, path: str | Path, **changes: Any) -> Self:
        """This method around weights that were trained by others.

        Args:
            path: a file of the original authors; what it tells of the architecture is taken from it.
            changes: arguments the user gave.

        Raises:
            CheckpointError: if the file does not suit this method.
        """
        raise CheckpointError(
            f"weights={path}: {cls.__name__} knows no weights of others.", "Name a run of ours instead: run=FOLDER."
        )

    @property
    def validates(self) -> bool:
        """Whether `validation_step` has anything to look at; if not, the last checkpoint counts as the best."""
        return not self.fit_free

    @property
    def needs(self) -> tuple[type, ...]:
        """Observation types this method works from, the preferred one first."""
        return (OrientedPoints, Points)

    def reconstruct(self, observation: Observation) -> Surface | MeshSurface:
        """The surface seen in `observation`; per-scene methods have been fitted to it before."""
        raise NotImplementedError


class SceneMethod(Method):
    """A method that is fitted to one scene, whose data stay on the device.

    Args:
        normalize: how the scene is brought to unit size (see `Frame.fit`).
        size: the size it is given, in local units.
        seed: of every draw; batch `s` is a function of (seed, s) alone, so a resumed fit equals an unbroken one.

    Attributes:
        frame: local to world, as the weights were made in it; it goes into the checkpoint.
    """

    per_scene = True
    frame: Frame | None = None

    def __init__(self, normalize: Fit = "box", size: float = 1.8, seed: int = 0) -> None:
        super().__init__()
        self.normalize, self.size, self.seed = normalize, size, seed
        self._ddp_params_and_buffers_to_ignore: set[str] = set()  # where torch's ddp looks for what it should not send

    def attach(self, observation: Points) -> None:
        """Take the scene to fit; called before the fit and after loading a checkpoint."""
        self.observation = observation.normalized(self.normalize, self.size)

    def keep(self, name: str, data: torch.Tensor | None) -> None:
        """Hold a tensor of the scene on the device, as the attribute `name`.

        It goes into no checkpoint, and ddp does not send it at each step: every process attached the same scene.
        """
        self.register_buffer(name, None if data is None else data.to(self.device), persistent=False)
        self._ddp_params_and_buffers_to_ignore.add(name)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["frame"] = self.frame.state() if self.frame else None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint.get("frame")
        self.frame = Frame.from_state(state) if state else None

    def generator(self, step: int, device: torch.device | None = None) -> torch.Generator:
        """The random numbers of one step, the same whoever asks and however often."""
        return step_generator(self.seed, step, device or self.device)


def step_generator(seed: int, step: int, device: torch.device) -> torch.Generator:
    """Random numbers that depend on (seed, step) alone."""
    mixed = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + 1) & (2**63 - 1)
    return torch.Generator(device).manual_seed(mixed)
