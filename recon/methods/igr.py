"""Gropp et al. 2020, "Implicit Geometric Regularization for Learning Shapes", for one shape.

The defaults are the authors'; conf/method/igr_nnabla.yaml and siren.yaml set apart what two others do differently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from recon.errors import CheckpointError
from recon.geometry.frames import Fit, Frame
from recon.geometry.normals import estimate_normals
from recon.geometry.surface import Surface
from recon.io.checkpoints import load_state, load_weights, read_torch
from recon.losses.igr import Objective
from recon.losses.points import surface_distance
from recon.methods import igr_points
from recon.methods.base import Compat, SceneMethod
from recon.methods.schedules import halving, scheduled
from recon.metrics.legacy import nnabla_split
from recon.nets.fields import ActivationName, Network, build_field
from recon.nets.value_gradient import Field
from recon.observations import Observation, OrientedPoints, Points

PRESETS: dict[str, dict[str, Any]] = {  # what a file of weights wants and does not say
    "igr_authors": {"normalize": "none"},
    "igr_nnabla": {"network": "nnabla", "activation": "leaky_relu", "bound": 1.5, "size": 2.0},
}
VALIDATED = 16384  # points at most that a validation looks at where none are held out, and in one call


class IGR(SceneMethod):
    """A perceptron fitted to one cloud: zero on the points, unit gradient elsewhere, and along normals if given.

    Args:
        network: layout and initialisation: the authors', the nnabla example's, or SIREN.
        width: of the hidden layers, one number or one a layer.
        depth: number of hidden layers, where `width` is one number.
        skip: layers that see the position again; SIREN wants none.
        activation: of the hidden layers; SIREN wants the sine.
        beta: sharpness of the softplus.
        radius: of the sphere the authors' network starts as.
        omega: frequency of SIREN's sines.
        points: surface points a step, drawn without replacement (all of them if there are fewer).
        local: samples about surface points, as many as those; their deviation is the distance to a neighbour.
        uniform: samples of the box, as a share of `points`.
        box: half the side of that box, local units.
        neighbours: the neighbour whose distance is the deviation (the 50th).
        surface_weight, surface_power, normal_weight, normal_kind, reduction, eikonal_weight, eikonal_power,
            eikonal_everywhere, off_surface_weight: see `recon.losses.igr.Objective`.
        lr: initial learning rate of Adam.
        lr_every: steps after which it is halved (0: never).
        lr_floor: what it never falls below.
        steps: length of a fit.
        epochs: the same counted in passes over the points (0: `steps` holds).
        holdout: share of the points kept for validation, split as in the nnabla example.
        val_resolution: cells of a mesh that is scored in validation, truly and by the published recipe (0: none).
        normals: use those given, estimate them, or use none.
        bound: half the side of the box that is meshed, local units.
        precision: of features and matrix products; weights, positions and losses stay in float32.
        ema: decay of an average of the weights that is used in place of the last ones (0: none).
        compat: ``"released"``: the quirks of the published programs, that is six-dimensional neighbour distances
            (the authors') and meshes in rotated grid units (nnabla's).
        grid: samples along an axis in those grid units.
        normalize, size, seed: see `SceneMethod`.
    """

    monitor: ClassVar[tuple[str, Literal["min", "max"]]] = ("val/surface", "min")

    points: Tensor
    normals: Tensor | None
    sigma: Tensor
    held: Tensor

    def __init__(
        self,
        network: Network = "authors",
        width: int | Sequence[int] = 512,
        depth: int = 8,
        skip: Sequence[int] = (4,),
        activation: ActivationName = "softplus",
        beta: float = 100.0,
        radius: float = 1.0,
        omega: float = 30.0,
        points: int = 16384,
        local: bool = True,
        uniform: float = 0.125,
        box: float = 1.8,
        neighbours: int = 50,
        surface_weight: float = 1.0,
        surface_power: Literal[1, 2] = 1,
        normal_weight: float = 1.0,
        normal_kind: Literal["l2", "cosine"] = "l2",
        reduction: Literal["mean", "sum"] = "mean",
        eikonal_weight: float = 0.1,
        eikonal_power: Literal[1, 2] = 2,
        eikonal_everywhere: bool = False,
        off_surface_weight: float = 0.0,
        lr: float = 5e-3,
        lr_every: int = 2000,
        lr_floor: float = 5e-6,
        steps: int | None = 100_000,
        epochs: int = 0,
        holdout: float = 0.0,
        val_resolution: int = 0,
        normals: Literal["given", "estimate", "none"] = "given",
        bound: float = 1.2,
        precision: Literal["fp32", "bf16"] = "fp32",
        ema: float = 0.0,
        compat: Compat = None,
        grid: int = 256,
        normalize: Fit = "box",
        size: float = 1.8,
        seed: int = 0,
    ) -> None:
        super().__init__(normalize, size, seed)
        widths = (width,) * depth if isinstance(width, int) else tuple(width)
        self.net = build_field(network, widths, skip, activation, beta, radius, omega)
        self.averaged = AveragedModel(self.net, multi_avg_fn=get_ema_multi_avg_fn(ema)) if ema else None
        if self.averaged is not None:
            self.averaged.requires_grad_(False)  # ddp waits for the gradient of all that asks for one
        self.objective = Objective(
            surface_weight,
            surface_power,
            normal_weight,
            normal_kind,
            reduction,
            eikonal_weight,
            eikonal_power,
            eikonal_everywhere,
            off_surface_weight,
        )
        self.batch_points, self.local, self.uniform, self.box, self.neighbours = points, local, uniform, box, neighbours
        self.schedule = partial(halving, initial=lr, every=lr_every, floor=lr_floor)
        self.steps, self.epochs, self.holdout, self.val_resolution = steps, epochs, holdout, val_resolution
        self.use_normals, self.bound = normals, bound
        self.product_dtype = torch.bfloat16 if precision == "bf16" else None
        self.six_d_sigma = compat == "released" and network == "authors"
        self.grid = grid if compat == "released" and network == "nnabla" else 0

    @property
    def field(self) -> Field:
        """The network to use: the average of the weights if one is kept, else the last ones."""
        field = self.net if self.averaged is None else self.averaged.module
        assert isinstance(field, Field)
        return field

    def attach(self, observation: Points) -> None:
        """Take the cloud to fit: normalise, orient, split, and measure its local scale."""
        super().attach(observation)
        scene = self.observation
        assert isinstance(scene, Points)
        if self.frame is not None:  # a resumed fit keeps the frame its weights were made in
            scene = igr_points.in_frame(observation, self.frame)
            self.observation = scene
        self.frame = scene.frame
        normals = self._normals(scene)
        train, held = self._split(len(scene.points))
        rows = scene.points[train].numpy()
        measured = rows if normals is None or not self.six_d_sigma else np.hstack([rows, normals[train].numpy()])
        sigma = torch.from_numpy(igr_points.local_sigma(measured, self.neighbours).astype(np.float32))
        for name, data in {
            "points": scene.points[train],
            "normals": None if normals is None else normals[train],
            "sigma": sigma,
            "held": scene.points[held],
        }.items():
            self.keep(name, data)
        if self.epochs:
            self.steps = self.epochs * max(1, len(self.points) // self.batch_points)

    def _split(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows to train on and to validate on; where none are held out, some of the former serve."""
        if self.holdout:
            return nnabla_split(count, self.holdout)
        return np.arange(count), np.arange(0, count, -(-count // VALIDATED))

    def _normals(self, scene: Points) -> Tensor | None:
        if self.use_normals == "none" or not self.objective.normal:
            return None
        if self.use_normals == "estimate":
            estimate = estimate_normals(scene.points.double().numpy(), seed=self.seed)
            self.warnings = estimate.warnings
            return torch.from_numpy(estimate.normals).float()
        return scene.normals if isinstance(scene, OrientedPoints) else None

    def draw(self, step: int) -> tuple[Tensor, Tensor | None, Tensor]:
        """Surface points, their normals, and points off the surface of one step: this process' share of them."""
        generator = self.generator(step, self.points.device)
        count = min(self.batch_points, len(self.points))
        rows = torch.randperm(len(self.points), generator=generator, device=self.points.device)[:count]
        surface = self.points[rows]
        uniform = max(1, round(self.uniform * count))
        off = igr_points.off_surface_points(surface, self.sigma[rows], uniform, self.box, generator)
        off = off if self.local else off[count:]
        share = partial(igr_points.share_of, rank=self.trainer.global_rank if self._trainer else 0, world=self.world)
        normals = None if self.normals is None else share(self.normals[rows])
        return (
            share(surface),
            normals,
            torch.cat([share(off[:count]), share(off[count:])]) if self.local else share(off),
        )

    @property
    def world(self) -> int:
        """Number of processes that share a step."""
        return self.trainer.world_size if self._trainer else 1

    def terms(self, step: int) -> dict[str, Tensor]:
        """The objective of one step on this process' share, such that the mean over processes is that of one."""
        whole, summed = self.objective, self.world if self.objective.reduction == "sum" else 1
        shared = replace(whole, surface=summed * whole.surface, normal=summed * whole.normal)
        return shared(self.net, *self.draw(step), dtype=self.product_dtype)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """One step; the batch is its number."""
        terms = self.terms(int(batch))
        self.log_dict({f"train/{name}": term.detach() for name, term in terms.items()}, batch_size=1)
        return terms["loss"]

    def on_train_batch_end(self, *_: Any) -> None:
        if self.averaged is not None:
            self.averaged.update_parameters(self.net)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Mean |f| in local units on the held-out points, and if wanted the example's scores of a mesh."""
        distances = torch.cat([igr_points.values(self.field, None, part) for part in self.held.split(VALIDATED)])
        self.log("val/surface", surface_distance(distances), batch_size=1, sync_dist=True)
        if self.val_resolution:
            assert isinstance(self.observation, Points)
            surface = replace(self.reconstruct(self.observation), frame=Frame())
            mesh = surface.mesh(resolution=self.val_resolution, normals=False).mesh
            scores = igr_points.mesh_scores(mesh, self.observation.points, self.held)
            self.log_dict(scores, batch_size=1, sync_dist=True)

    def configure_optimizers(self) -> Any:
        adam = torch.optim.Adam(self.net.parameters(), lr=1.0, fused=True)
        return scheduled(adam, [self.schedule])

    def reconstruct(self, observation: Observation) -> Surface:
        """The fitted field over its box; `observation` only serves to trim, and to place author weights."""
        assert isinstance(observation, Points)
        frame = self.frame or observation.normalized(self.normalize, self.size).frame
        low, high = (-self.bound,) * 3, (self.bound,) * 3
        return Surface(
            partial(igr_points.values, self.field, None),
            low,
            high,
            kind="sdf",
            frame=igr_points.grid_frame(self.grid, self.bound) if self.grid else frame,
            gradient=partial(igr_points.gradients, self.field, None),
            support=igr_points.in_frame(observation, frame).points,
            device=str(self.device),
        )

    @classmethod
    def from_weights(cls, path: str | Path, **changes: Any) -> Self:
        """This method around weights of the authors (``.pth``), of the nnabla example (``.h5``) or of our own.

        The authors' program does not normalise: such a network lives in its cloud's own coordinates. The example
        brings the longest side to 2.

        Args:
            path: the file; its format, widths and skip layers are found out.
            changes: any other arguments, e.g. ``activation="relu"``, which a file does not tell.

        Raises:
            CheckpointError: if the file cannot be read, or does not hold the network of one shape.
        """
        kind, state, found = load_weights(path)
        if kind == "lightning":
            method = cls(**changes)
            method.on_load_checkpoint(read_torch(Path(path)))
            load_state(method, state, path)
            return method
        if found["d_in"] != 3 or found["latent"]:
            raise CheckpointError(
                f"'{path}' does not hold the network of one three-dimensional shape.",
                "Use method=igr_shapespace for weights that go with latent codes.",
            )
        preset = {"width": found["widths"], "skip": found["skip"], **PRESETS[kind]}
        method = cls(**{**preset, **changes})
        load_state(method.net, state, path)
        return method
