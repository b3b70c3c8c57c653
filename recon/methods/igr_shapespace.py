"""Gropp et al. 2020, section 6.2: one network for a family of shapes, and a latent code for each (an auto-decoder)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from recon.errors import CheckpointError, ConfigError
from recon.geometry.surface import Surface
from recon.io.checkpoints import load_state, load_weights
from recon.losses.igr import Objective
from recon.losses.points import code_length, surface_distance
from recon.methods.base import Method, step_generator
from recon.methods.igr_points import gradients, off_surface_points, values
from recon.methods.schedules import halving, scheduled
from recon.nets.sdf import MLP
from recon.observations import Observation, OrientedPoints, Points

FIT_SCHEDULE = partial(halving, initial=5e-3, every=400, factor=0.1)
FIT_SEED = 0x1A7E27


class IGRShapeSpace(Method):
    """A network of positions and codes, trained with a table of codes, one row a training scene.

    The table is a dense parameter in the one Adam, as in the authors' program: a scene that is not in a batch still
    moves by its momentum. Each epoch meets every scene once, so that this is little; with ``touched_only`` such rows
    and their momenta stay as they are, which is what long tables want. Unlike theirs, a resumed training goes on
    updating the codes, since table and optimiser come from one checkpoint.

    Args:
        width: of the hidden layers.
        depth: number of hidden layers.
        skip: layers that see code and position again.
        latent: length of a code.
        scenes: rows of the table; by default as many as the data has scenes to train on.
        sigma: deviation of the samples about surface points, local units.
        uniform: samples of the box, as a share of the surface points.
        box: half the side of that box.
        eikonal_weight, normal_weight: see `recon.losses.igr.Objective`.
        code_weight: weight of the codes' mean length.
        lr: initial learning rate of the network.
        code_lr: that of the codes.
        lr_every: epochs after which both are halved.
        lr_floor: what they never fall below.
        touched_only: leave codes of scenes outside the batch alone.
        fit_steps: steps of the fit of a code to a new scene.
        fit_points: surface points of such a step.
        val_steps: steps of the fits in validation.
        margin: of the meshed box about the points, local units.
        precision: of features and matrix products.
        seed: of every draw.
    """

    monitor: ClassVar[tuple[str, Literal["min", "max"]]] = ("val/surface", "min")

    def __init__(
        self,
        width: int | Sequence[int] = 512,
        depth: int = 8,
        skip: Sequence[int] = (4,),
        latent: int = 256,
        scenes: int | None = None,
        sigma: float = 0.01,
        uniform: float = 0.125,
        box: float = 1.8,
        eikonal_weight: float = 0.1,
        normal_weight: float = 1.0,
        code_weight: float = 1e-3,
        lr: float = 5e-3,
        code_lr: float = 1e-3,
        lr_every: int = 500,
        lr_floor: float = 5e-6,
        touched_only: bool = False,
        fit_steps: int = 800,
        fit_points: int = 8000,
        val_steps: int = 50,
        margin: float = 0.1,
        precision: Literal["fp32", "bf16"] = "fp32",
        seed: int = 0,
    ) -> None:
        super().__init__()
        widths = (width,) * depth if isinstance(width, int) else tuple(width)
        self.net = MLP(widths=widths, skip=skip, latent=latent)
        self.codes = _table(scenes, latent) if scenes else None
        self.objective = Objective(eikonal=eikonal_weight, normal=normal_weight)
        self.latent, self.sigma, self.uniform, self.box, self.code_weight = latent, sigma, uniform, box, code_weight
        self.schedule = partial(halving, initial=lr, every=lr_every, floor=lr_floor)
        self.code_schedule = partial(halving, initial=code_lr, every=lr_every, floor=lr_floor)
        self.touched_only, self.margin, self.seed = touched_only, margin, seed
        self.fit_steps, self.fit_points, self.val_steps = fit_steps, fit_points, val_steps
        self.product_dtype = torch.bfloat16 if precision == "bf16" else None

    def setup(self, stage: str) -> None:
        if self.codes is None:
            data = getattr(self.trainer, "datamodule", None)
            if data is None:
                raise ConfigError("method.scenes: the number of training scenes is not known.", "Give method.scenes=N.")
            self.codes = _table(len(data.selected("train")), self.latent)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        table = checkpoint["state_dict"].get("codes.weight")
        if table is None:
            return
        rows = len(table)
        if self.codes is None or len(self.codes.weight) != rows:
            self.codes = _table(rows, self.latent)

    def off_surface(self, points: Tensor, step: int) -> Tensor:
        """Samples off the surface of one training step, (B, M, 3) for this process' (B, N, 3) points.

        Drawn for the scenes of all processes, which the sampler deals out in turns: together they draw what one would.
        """
        world, rank = (self.trainer.world_size, self.trainer.global_rank) if self._trainer else (1, 0)
        return self._off_surface(points.repeat_interleave(world, dim=0), step)[rank::world]

    def _off_surface(self, points: Tensor, step: int) -> Tensor:
        uniform = max(1, int(points.shape[1] * self.uniform))
        generator = step_generator(self.seed, step, points.device)
        return off_surface_points(points, self.sigma, uniform, self.box, generator)

    def terms(self, points: Tensor, normals: Tensor | None, off: Tensor, codes: Tensor) -> dict[str, Tensor]:
        """The objective (without the codes' length) on (B, N, 3) points, (B, M, 3) others and (B, latent) codes."""
        return self.objective(self.net, points, normals, off, codes, self.product_dtype)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        points, normals = _tensors(batch.observation)
        assert self.codes is not None
        codes = self.codes(batch.index)
        terms = self.terms(points, normals, self.off_surface(points, self.global_step), codes)
        terms["code"] = code_length(codes)
        self.log_dict({f"train/{name}": term.detach() for name, term in terms.items()}, batch_size=len(points))
        return terms["loss"] + self.code_weight * terms["code"]

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Mean |f| on scenes that were not trained on, after a short fit of their codes."""
        points, normals = _tensors(batch.observation)
        codes = self.fit_codes(points, normals, self.val_steps)
        with torch.no_grad():
            distances = self.net(points, codes)
        self.log("val/surface", surface_distance(distances), batch_size=len(points), sync_dist=True)

    def configure_optimizers(self) -> Any:
        assert self.codes is not None
        groups = [{"params": list(self.net.parameters())}, {"params": list(self.codes.parameters())}]
        adam = torch.optim.Adam(groups, lr=1.0, fused=True)
        return scheduled(adam, [self.schedule, self.code_schedule], interval="epoch")

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        if not self.touched_only:
            return super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        assert self.codes is not None
        table = self.codes.weight
        kept = [table, *(optimizer.state[table].get(key) for key in ("exp_avg", "exp_avg_sq"))]
        before = [None if tensor is None else tensor.detach().clone() for tensor in kept]
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        assert table.grad is not None
        rest = (table.grad == 0).all(dim=1)  # summed over processes, so that all of them agree on who was there
        with torch.no_grad():
            for tensor, old in zip(kept, before, strict=True):
                if tensor is not None and old is not None:
                    tensor[rest] = old[rest]
        return None

    def fit_codes(self, points: Tensor, normals: Tensor | None, steps: int | None = None) -> Tensor:
        """Codes (B, latent) of B clouds (B, N, 3) that were not trained on; the network stays as it is.

        Drawn from a normal distribution of deviation 1 / latent, then Adam at 5e-3 for 400 steps and a tenth of that
        for 400 more, with the training's objective and the codes' mean absolute component.
        """
        with torch.inference_mode(False), torch.enable_grad(), _frozen(self.net):
            draw = torch.Generator().manual_seed(self.seed + FIT_SEED)
            start = torch.randn(len(points), self.latent, generator=draw) / self.latent
            codes = start.to(points.device).requires_grad_()
            adam = torch.optim.Adam([codes], lr=1.0)
            points, normals = points.clone(), None if normals is None else normals.clone()
            for step in range(self.fit_steps if steps is None else steps):
                adam.param_groups[0]["lr"] = FIT_SCHEDULE(step)
                rows = torch.randperm(points.shape[1], generator=draw)[: self.fit_points].to(points.device)
                surface, picked = points[:, rows], None if normals is None else normals[:, rows]
                loss = self.terms(surface, picked, self._off_surface(surface, step + FIT_SEED), codes)["loss"]
                loss = loss + self.code_weight * code_length(codes, "l1")
                (codes.grad,) = torch.autograd.grad(loss, codes)
                adam.step()
        return codes.detach()

    def reconstruct(self, observation: Observation) -> Surface:
        """Fit a code to the points and take its surface, over the points' box and a margin."""
        return self._surface(self._normalized(observation), self._code(observation))

    def between(self, first: Observation, second: Observation, count: int = 3) -> list[Surface]:
        """Surfaces of `count` codes evenly spaced from the first shape's to the second's, both included."""
        ends = self._code(first), self._code(second)
        scene = self._normalized(first)
        return [self._surface(scene, torch.lerp(*ends, weight)) for weight in torch.linspace(0, 1, count).tolist()]

    def _normalized(self, observation: Observation) -> Points:
        assert isinstance(observation, Points)
        return observation.normalized("box", 1.8).to(self.device)

    def _code(self, observation: Observation) -> Tensor:
        points, normals = _tensors(self._normalized(observation))
        return self.fit_codes(points[None], None if normals is None else normals[None])

    def _surface(self, scene: Points, code: Tensor) -> Surface:
        low, high = scene.points.amin(0) - self.margin, scene.points.amax(0) + self.margin
        return Surface(
            partial(values, self.net, code),
            tuple(low.tolist()),
            tuple(high.tolist()),
            kind="sdf",
            frame=scene.frame,
            gradient=partial(gradients, self.net, code),
            support=scene.points,
            device=str(self.device),
        )

    @classmethod
    def from_weights(cls, path: str | Path, **changes: Any) -> Self:
        """This method around the network of the authors' shape space (``ModelParameters/N.pth``), or our own.

        Raises:
            CheckpointError: if the file cannot be read, or holds another network.
        """
        kind, state, found = load_weights(path)
        if kind == "lightning":
            method = cls(**changes)
            method.on_load_checkpoint({"state_dict": state})
            load_state(method, state, path)
            return method
        if kind != "igr_authors" or found["d_in"] != 3 or not found["latent"]:
            raise CheckpointError(
                f"'{path}' does not hold the authors' network with latent codes.",
                "Use method=igr for the network of one shape.",
            )
        method = cls(**{"width": found["widths"], "skip": found["skip"], "latent": found["latent"], **changes})
        load_state(method.net, state, path)
        return method


class _frozen:  # noqa: N801 - reads as a word: with _frozen(net)
    """The network without weight gradients, which saves a third of a step."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def __enter__(self) -> None:
        self.net.requires_grad_(False)

    def __exit__(self, *_: object) -> None:
        self.net.requires_grad_(True)


def _table(rows: int, latent: int) -> nn.Embedding:
    table = nn.Embedding(rows, latent)
    nn.init.zeros_(table.weight)
    return table


def _tensors(observation: Observation) -> tuple[Tensor, Tensor | None]:
    assert isinstance(observation, Points)
    return observation.points, observation.normals if isinstance(observation, OrientedPoints) else None
