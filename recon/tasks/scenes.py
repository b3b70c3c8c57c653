"""One scene after another: fit where the method needs it, make the mesh, write it, score it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from recon.data.base import ReconDataModule
from recon.errors import CheckpointError, DataError
from recon.geometry.surface import Extraction, Surface
from recon.geometry.voxel_surface import VoxelSurface
from recon.io.meshes import write_mesh
from recon.methods.base import Method, SceneMethod
from recon.metrics.protocols import evaluate, status
from recon.metrics.scan import scan_to_mesh, unsupported_share
from recon.metrics.voxels import VoxelScores
from recon.observations import Points, Scene, Truth
from recon.report.previews import Panel, save_image, strip
from recon.report.progress import progress
from recon.tasks import build
from recon.tasks.fit import fit, load_checkpoint, planned_steps, steps_done
from recon.tasks.folder import RunFolder
from recon.tasks.meter import Meter

PREVIEW = 128  # cells along a preview: half a second to mesh and draw
OPEN = 0.05  # share of the area far from the input from which users are told

log = logging.getLogger("recon")


@dataclass(frozen=True)
class Result:
    """What came of one scene.

    Attributes:
        scene: what was observed, and the truth if it is known.
        extraction: the mesh, in world coordinates, and how it came about.
        row: one line of the table of metrics.
        file: where the mesh lies.
        history: folder with the loss curves of its fit, or None.
        warnings: sentences for the user, of the method and of the meshing.
        voxels: what the mesh was made of, by methods that predict voxels.
    """

    scene: Scene
    extraction: Extraction
    row: dict[str, Any]
    file: Path
    history: Path | None = None
    warnings: tuple[str, ...] = field(default=())
    voxels: VoxelSurface | None = None


def fit_scene(cfg: DictConfig, folder: RunFolder, scene: Scene) -> Method:
    """A per-scene method, fitted to a scene or to where `trainer.max_steps` ends."""
    method = build.build_method(cfg)
    attach(method, scene)
    fit(cfg, method, None, scene_folder(folder, scene))
    return method


def scene_folder(folder: RunFolder, scene: Scene) -> Path:
    """Where the checkpoints and logs of one scene's fit lie."""
    return folder.sub("scenes", scene.observation.name)


def process(cfg: DictConfig, folder: RunFolder, data: ReconDataModule, names: list[str]) -> list[Result]:
    """Reconstruct and score the scenes of a dataset, one by one; what was skipped, `data.skipped` tells."""
    shared = None if _one_each(cfg) else trained(cfg, folder)
    return [reconstruct_scene(cfg, folder, scene, shared) for scene in loaded(data, names)]


def loaded(data: ReconDataModule, names: Sequence[str]) -> Iterator[Scene]:
    """The scenes one after another, less the damaged ones where ``data.on_error=skip``.

    Raises:
        DataError: if a scene is damaged and that was not asked for, or if too many are.
    """
    for name in names:
        try:
            scene = data.load(name)
        except DataError as error:
            if data.on_error == "raise":
                raise
            data.skip(name, error.what)
        else:
            yield scene


def reconstruct_scene(cfg: DictConfig, folder: RunFolder, scene: Scene, shared: Method | None) -> Result:
    """The mesh of one scene, its cost and its scores; `shared` is the method if it was trained before."""
    with Meter() as meter:
        method = shared or prepared(cfg, folder, scene)
        method.to(build.device_of(cfg)).eval()
        method.preview = partial(write_preview, folder, scene) if cfg.preview else None
        surface = method.reconstruct(scene.observation)
        with progress(None, f"{scene.observation.name}: mesh") as bar:
            options = build.build_mesh_options(cfg)
            extraction = surface.mesh(options, progress=lambda done, total: bar.to(done, "field evaluations", total))
    file = folder.sub("meshes") / f"{scene.observation.name}.ply"
    write_mesh(file, extraction.mesh)
    warnings = (*method.warnings, *extraction.warnings, *_open_scan(scene, extraction))
    for warning in warnings:
        log.warning("%s: %s", scene.observation.name, warning)
    voxels = surface if isinstance(surface, VoxelSurface) else None
    row = {"scene": scene.observation.name, "category": scene.category, **scores(cfg, scene, extraction)}
    row |= voxel_scores(scene, voxels)
    history = scene_folder(folder, scene) if method.per_scene else None
    return Result(scene, extraction, row | meter.row(), file, history, warnings, voxels)


def write_preview(folder: RunFolder, scene: Scene, what: str, surface: Surface) -> None:
    """A mesh and its picture of something quick, while the method still works; what comes later replaces it."""
    name = scene.observation.name
    mesh = surface.mesh(resolution=PREVIEW).mesh
    write_mesh(folder.sub("previews") / f"{name}.ply", mesh)
    picture = save_image(folder.path / "previews" / f"{name}.png", strip([Panel(f"{name}: {what}", mesh)]))
    log.info("%s: preview (%s) in %s", name, what, picture)


def _open_scan(scene: Scene, extraction: Extraction) -> tuple[str, ...]:
    """A sentence about surface that closes what the scan left open, and the option that takes it away."""
    if not isinstance(scene.observation, Points):
        return ()
    share = unsupported_share(scene.observation.to_cloud(), extraction.mesh)
    if share < OPEN:
        return ()
    return (f"{share:.0%} of the surface lies far from every point: it closes holes. mesh.trim=5 cuts it off.",)


def prepared(cfg: DictConfig, folder: RunFolder, scene: Scene) -> Method:
    """A method ready for one scene: solving ones as they are, fitted ones from their checkpoint or fitted now."""
    if cfg.weights is not None:
        return build.build_from_weights(cfg, folder.asked("method"))
    method = build.build_method(cfg)
    if method.fit_free:
        return method
    attach(method, scene)
    home = scene_folder(folder, scene)
    if not (home / "checkpoints").is_dir():
        fit(cfg, method, None, home)
    step = load_checkpoint(method, home, cfg.checkpoint.keep)
    log.info("%s: weights of step %d", scene.observation.name, step)
    done, planned = steps_done(home), planned_steps(cfg, method)
    if done < planned:
        text = "%s: its fit stopped at %d of %d steps; `train run=%s` goes on."
        log.warning(text, scene.observation.name, done, planned, folder.path)
    return method


def attach(method: Method, scene: Scene) -> None:
    """Give a per-scene method its scene."""
    assert isinstance(method, SceneMethod)
    assert isinstance(scene.observation, Points)
    method.attach(scene.observation)


def trained(cfg: DictConfig, folder: RunFolder) -> Method:
    """A method that was trained over many scenes, from ``run=`` or ``weights=``.

    Raises:
        CheckpointError: if neither is given.
    """
    if cfg.weights is not None:
        return build.build_from_weights(cfg, folder.asked("method"))
    method = build.build_method(cfg)
    if not folder.resumed:
        raise CheckpointError(
            "This method must be trained before it can be used.",
            "Name a run (run=FOLDER) or weights (weights=FILE), or train it: `recon train method=... data=...`.",
        )
    load_checkpoint(method, folder.path, cfg.checkpoint.keep)
    return method


def scores(cfg: DictConfig, scene: Scene, extraction: Extraction) -> dict[str, Any]:
    """Metrics against the truth where it is known, and how well the mesh explains the input in any case."""
    row: dict[str, Any] = {"status": status(extraction.mesh)}
    row |= {"faces": len(extraction.mesh.faces), "components": extraction.components}
    with progress(2, f"{scene.observation.name}: evaluation") as bar:
        if isinstance(scene.observation, Points):
            row |= scan_to_mesh(scene.observation.to_cloud(), extraction.mesh)
        bar(1, "distance of the input")
        if isinstance(scene.target, Truth):
            truth, frame = scene.target, scene.observation.frame
            row |= evaluate(
                extraction.mesh, truth.surface, cfg.protocol, cfg.seed, occupancies=truth.occupancies, frame=frame
            )
        bar(1)
    return row


def voxel_scores(scene: Scene, voxels: VoxelSurface | None) -> dict[str, float]:
    """IoU, loss and average precision of predicted voxels after each view, where the true ones are known."""
    true = scene.target.voxels if isinstance(scene.target, Truth) else None
    if voxels is None or true is None or true.grid.shape != voxels.growth.shape[1:]:
        return {}
    logits = torch.stack([torch.zeros_like(voxels.growth), voxels.growth], dim=1)
    return VoxelScores(range(1, len(logits) + 1), voxels.level).row(logits, true.grid)


def _one_each(cfg: DictConfig) -> bool:
    method = build.build_method(cfg)
    return method.per_scene or method.fit_free


def failed(name: str, reason: str) -> dict[str, Any]:
    """The row of a scene that gave no mesh: it counts, and says why."""
    return {"scene": name, "status": "missing", "error": reason}
