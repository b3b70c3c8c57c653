"""The report of a run and the page of a comparison, composed of the parts in `recon.report`."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf

from recon.geometry.voxel_mesh import boundary_mesh
from recon.geometry.voxel_surface import VoxelSurface
from recon.io.types import Cloud
from recon.observations import Points, Truth
from recon.report.curves import Curve, from_history
from recon.report.errormap import ErrorMap, vertex_errors
from recon.report.growth import growth_section, growth_strip, shown_views
from recon.report.html import Report
from recon.report.previews import Panel
from recon.report.sections import Section, curves_section, previews_section, table_section, viewer_section
from recon.report.tables import Table
from recon.tasks.folder import RunFolder
from recon.tasks.scenes import Result

SHOWN_SCENES = 8  # a page with hundreds of meshes opens nowhere


def run_page(
    cfg: DictConfig,
    folder: RunFolder,
    results: Sequence[Result],
    table: Table | None,
    histories: Sequence[Path],
    skipped: Mapping[str, str],
) -> Path:
    """Write report.html: metrics, curves, previews, a 3D view, what was skipped, and how to repeat the run."""
    sections = [table_section("Metrics", table)] if table is not None else []
    for result in results[:SHOWN_SCENES]:
        sections += scene_sections(result)
    for home in histories[:SHOWN_SCENES]:
        curves = read_curves(home)
        sections += [curves_section(curves, f"Curves: {home.name}")] if curves else []
    report = Report(
        title=str(cfg.label),
        command=folder.command(),
        config_yaml=OmegaConf.to_yaml(cfg),
        sections=sections,
        subtitle=f"{folder.verb}, {folder.path.name}",
        facts=facts(results),
        warnings=_warnings(results, skipped),
    )
    return report.write(folder.path / "report.html")


def scene_sections(result: Result) -> list[Section]:
    """Pictures from four sides (input, mesh, mesh in the colours of its errors) and the 3D view."""
    name, mesh = result.scene.observation.name, result.extraction.mesh
    cloud = result.scene.observation.to_cloud() if isinstance(result.scene.observation, Points) else None
    truth = result.scene.target.surface if isinstance(result.scene.target, Truth) else None
    reference, against = (truth, "truth") if truth is not None else (cloud, "input")
    panels = [Panel("Input", cloud)] if cloud is not None else []
    if result.voxels is not None:
        panels.append(Panel("Voxels", result.voxels.squares().triangles))
    panels.append(Panel("Mesh", mesh))
    if result.voxels is not None and isinstance(result.scene.target, Truth) and result.scene.target.voxels is not None:
        true = result.scene.target.voxels
        panels.append(Panel("True voxels", boundary_mesh(true.grid.numpy() > 0.5, true.frame)))
    errors = None
    if reference is not None and not mesh.is_empty:
        errors = ErrorMap(vertex_errors(mesh, reference))
        panels.append(Panel.of_errors(f"Distance to the {against}", mesh, errors))
    grown = [] if result.voxels is None else [growth_section(growth(result.voxels), f"{name}: views and voxels")]
    return [
        *grown,
        previews_section(panels, title=f"{name}: previews"),
        viewer_section(mesh, errors, _thinned(cloud), title=f"{name}: mesh in 3D"),
    ]


def growth(voxels: VoxelSurface) -> np.ndarray:
    """A picture, (H, W, 3) uint8, of the views that a network saw and its voxels after each."""
    numbers = shown_views(len(voxels.growth))
    views = (255 * voxels.seen).round().byte().permute(0, 2, 3, 1).numpy()
    meshes = [voxels.squares(number).triangles for number in numbers]
    return growth_strip([views[number - 1] for number in numbers], meshes, numbers)


def facts(results: Sequence[Result]) -> dict[str, str]:
    """The headline figures of a run with one scene, or sums over several."""
    if not results:
        return {}
    found = {"Scenes": str(len(results))} if len(results) > 1 else {}
    found["Faces"] = f"{sum(len(r.extraction.mesh.faces) for r in results):,}"
    found["Time"] = f"{sum(float(r.row['seconds']) for r in results):.1f} s"
    found["Memory"] = f"{max(float(r.row['peak_mib']) for r in results) / 1024:.2f} GiB"
    distance = results[0].row.get("chamfer_l1_exact")
    if len(results) == 1 and distance is not None and math.isfinite(distance):
        found["Chamfer L1"] = f"{distance:.3g}"
    return found


def read_curves(home: Path) -> list[Curve]:
    """The curves a csv logger left in a fit's folder; a resumed fit has several files."""
    history: dict[str, tuple[list[float], list[float]]] = {}
    for file in sorted(home.glob("logs/version_*/metrics.csv"), key=lambda f: int(f.parent.name.split("_")[1])):
        with file.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                for key, value in row.items():
                    if value and key not in ("step", "epoch"):
                        steps, values = history.setdefault(key, ([], []))
                        steps.append(float(row["step"]))
                        values.append(float(value))
    return from_history(history)


def comparison_page(cfg: DictConfig, folder: RunFolder, table: Table, results: dict[tuple[str, str], Result]) -> Path:
    """Write comparison.html: the table, and of each scene the input and every method's mesh."""
    sections = [table_section("Methods compared", replace(table, title=""))]
    for scene in list(dict.fromkeys(name for _, name in results))[:SHOWN_SCENES]:
        own = {method: result for (method, name), result in results.items() if name == scene}
        observed = next(iter(own.values())).scene.observation
        panels = [Panel("Input", observed.to_cloud())] if isinstance(observed, Points) else []
        panels += [Panel(method, result.extraction.mesh) for method, result in own.items()]
        sections.append(previews_section(panels, title=scene))
    report = Report(
        title=str(cfg.label),
        command=folder.command(),
        config_yaml=OmegaConf.to_yaml(cfg),
        sections=sections,
        subtitle=f"compare, {folder.path.name}",
        warnings=[f"{m} on {s}: {w}" for (m, s), r in results.items() for w in r.warnings],
    )
    return report.write(folder.path / "comparison.html")


def _warnings(results: Sequence[Result], skipped: Mapping[str, str]) -> list[str]:
    said = [f"{r.scene.observation.name}: {w}" for r in results for w in r.warnings] + _left_out(results)
    counted = [f"{len(skipped)} damaged item(s) left out (data.on_error=skip)."] if skipped else []
    return [*said, *counted, *(f"skipped {name}: {reason}" for name, reason in skipped.items())]


def _left_out(results: Sequence[Result]) -> list[str]:
    more = len(results) - SHOWN_SCENES
    return [f"Pictures of {more} more scenes are left out; their meshes lie in meshes/."] if more > 0 else []


def _thinned(cloud: Cloud | None, limit: int = 50_000) -> Cloud | None:
    if cloud is None or len(cloud.points) <= limit:
        return cloud
    rows = np.random.default_rng(0).permutation(len(cloud.points))[:limit]
    return Cloud(cloud.points[rows])
