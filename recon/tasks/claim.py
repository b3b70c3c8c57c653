"""`claim`: a paper's claim, tested: methods trained alike, several times each, and scored on the same scenes.

``experiment=claim_NAME`` says which methods, how often, and under which conditions they are tested (``claim:`` in its
file). A claim that was broken off goes on with ``recon claim run=FOLDER``: trainings from their last checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from recon.arguments import key_of
from recon.errors import ConfigError
from recon.io.files import write_csv, write_text
from recon.methods.base import Method
from recon.metrics.volume import mesh_occupancy_iou
from recon.observations import Occupancies, Points, Truth
from recon.report.claims import Claim, Row
from recon.report.curves import Curve
from recon.report.previews import Panel, save_image, strip
from recon.tasks import build
from recon.tasks.fit import fit, load_checkpoint
from recon.tasks.folder import RunFolder
from recon.tasks.pages import read_curves
from recon.tasks.scenes import Result, loaded, reconstruct_scene
from recon.tasks.start import begin, console, show


@dataclass(frozen=True)
class Plan:
    """What a claim's experiment says.

    Attributes:
        title: what is claimed.
        methods: names of methods, each with overrides of its own.
        seeds: one training of each method a seed; it is the data's seed, too.
        test: overrides of all tests.
        conditions: names of tests, each with the further overrides that make it.
        shown: the scene in the picture.
        full: further overrides of methods, of the paper's sizes, for ``gpu=true``.
    """

    title: str
    methods: dict[str, list[str]]
    seeds: list[int]
    test: list[str]
    conditions: dict[str, list[str]]
    shown: str
    full: dict[str, list[str]]


@dataclass(frozen=True)
class Outcome:
    """What one training gave: rows of scores, the curve of its validation (None if it solves), and meshes to show."""

    rows: list[Row]
    curve: Curve | None
    panels: list[Panel]


def run(cfg: DictConfig, folder: RunFolder) -> None:
    """Train and test what the experiment names; write claim.csv, claim.md, claim.png and shapes.png."""
    if cfg.claim is None:
        raise ConfigError("claim: no claim is named.", "Add experiment=claim_NAME.")
    if "orders" in cfg.claim:
        from recon.tasks import claim_views  # which builds on this module

        claim_views.run(cfg, folder)
        return
    plan = Plan(**OmegaConf.to_container(cfg.claim, resolve=True))  # type: ignore[arg-type]
    folder.record(cfg)
    outcomes = {
        (name, seed): _outcome(plan, name, seed, bool(cfg.gpu), folder) for seed in plan.seeds for name in plan.methods
    }
    rows = [row for outcome in outcomes.values() for row in outcome.rows]
    curves = {f"{name}, seed {seed}": o.curve for (name, seed), o in outcomes.items() if o.curve is not None}
    claim = Claim(plan.title, rows, curves)
    write_csv(folder.path / "claim.csv", rows)
    write_text(folder.path / "claim.md", claim.markdown())
    claim.draw(folder.path / "claim.png")
    save_image(folder.path / "shapes.png", strip([p for o in outcomes.values() for p in o.panels]))
    show(claim.table())
    console().print(f"claim    {folder.path}: claim.md, claim.csv, claim.png, shapes.png")


def _outcome(plan: Plan, name: str, seed: int, full: bool, folder: RunFolder) -> Outcome:
    asked = [o for o in folder.overrides if key_of(o) not in ("method", "seed") and not o.startswith("hydra.")]
    first = [o for o in asked if key_of(o) == "experiment"]
    own = [*plan.methods[name], *(plan.full.get(name, []) if full else []), f"seed={seed}"]
    words = [*first, f"method={name}", *own, *(o for o in asked if o not in first)]
    home = RunFolder(folder.sub(f"{name}-{seed}"), "test", words)
    method, curve = best_of_training(words, home)
    rows, panels = [], []
    for condition, changes in plan.conditions.items():
        for result in _tested([*words, *plan.test, *changes], RunFolder(home.sub(condition), "test", words), method):
            rows.append({"method": name, "seed": seed, "condition": condition, **_scores(result)})
            if seed == plan.seeds[0] and result.scene.observation.name == plan.shown:
                panels.append(Panel(f"{name}, {condition}", result.extraction.mesh))
    return Outcome(rows, curve, panels)


def best_of_training(words: list[str], home: RunFolder) -> tuple[Method | None, Curve | None]:
    """The best of a training, and the curve of what told so; nothing for a method that solves."""
    cfg = compose("config", ["task=train", *words])
    data, method = begin(cfg, home), build.build_method(cfg)
    if method.fit_free:
        return None, None
    fit(cfg, method, data, home.path)
    load_checkpoint(method, home.path, cfg.checkpoint.keep)
    return method, next((c for c in read_curves(home.path) if c.name == method.monitor[0]), None)


def _tested(words: list[str], home: RunFolder, method: Method | None) -> list[Result]:
    cfg = compose("config", ["task=test", *words])
    data = build.build_data(cfg)
    data.use(Points, Occupancies)
    return [reconstruct_scene(cfg, home, scene, method) for scene in loaded(data, data.selected("test"))]


def _scores(result: Result) -> Row:
    """Of one mesh; lengths in percent of the true shape's longest side."""
    row, truth, mesh = result.row, result.scene.target, result.extraction.mesh
    assert isinstance(truth, Truth)
    iou = 0.0
    if truth.occupancies is not None and not mesh.is_empty:
        iou = mesh_occupancy_iou(mesh, truth.occupancies.points.numpy(), truth.occupancies.inside.numpy() > 0.5)
    return {
        "scene": row["scene"],
        "status": row["status"],
        "iou": iou,
        "chamfer": 100 * row["chamfer_l1_exact"] / row["size"],
        "normal_consistency": row["normal_consistency_exact"],
        "fscore": row["fscore_1pct_exact"],
        "seconds": row["seconds"],
    }
