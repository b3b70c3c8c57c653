"""`claim` for methods that see views: whether more of them help, whether their order matters, and what memory is worth.

Each training's network is shown the views of test objects in several orders, and each view by itself. The second
kind of answer, averaged, is what a network without memory would give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from hydra import compose
from omegaconf import DictConfig, OmegaConf

from recon.arguments import key_of
from recon.errors import ConfigError
from recon.io.files import write_csv, write_text
from recon.methods.r2n2 import R2N2
from recon.metrics.voxels import voxel_iou
from recon.observations import Scene, Truth, Views, Voxels
from recon.report.growth_claim import GrowthClaim, Row
from recon.report.previews import save_image
from recon.tasks import build
from recon.tasks.claim import best_of_training
from recon.tasks.folder import RunFolder
from recon.tasks.pages import growth
from recon.tasks.scenes import loaded
from recon.tasks.start import console, show


@dataclass(frozen=True)
class ViewsPlan:
    """What a claim about views says.

    Attributes:
        title: what is claimed.
        seeds: one training a seed.
        orders: in which the views of each test object are shown.
        shown: the test scene in the picture.
        test: overrides of all tests.
        full: overrides of the paper's sizes, for ``gpu=true``.
    """

    title: str
    seeds: list[int]
    orders: int
    shown: str
    test: list[str]
    full: list[str]


def run(cfg: DictConfig, folder: RunFolder) -> None:
    """Train and test as the experiment says; write claim.csv, claim.md, claim.png and shapes.png."""
    plan = ViewsPlan(**OmegaConf.to_container(cfg.claim, resolve=True))  # type: ignore[arg-type]
    folder.record(cfg)
    rows: list[Row] = []
    curves, pictures = {}, []
    for seed in plan.seeds:
        own = [o for o in folder.overrides if key_of(o) != "seed" and not o.startswith("hydra.")]
        first = [o for o in own if key_of(o) == "experiment"]
        changes = [o for o in own if o not in first]
        words = [*first, *(plan.full if cfg.gpu else []), f"seed={seed}", *changes]
        method, curve = best_of_training(words, RunFolder(folder.sub(f"seed-{seed}"), "train", words))
        if not isinstance(method, R2N2):
            raise ConfigError("This claim is about methods that see one view after another.", "Use method=r2n2.")
        if curve is not None:
            curves[f"seed {seed}"] = curve
        for scene in _scenes([*words, *plan.test]):
            rows += [{"seed": seed, **row} for row in scored(method, scene, plan.orders)]
            if scene.observation.name == plan.shown:
                pictures.append(growth(method.reconstruct(scene.observation)))
    claim = GrowthClaim(plan.title, rows, curves)
    write_csv(folder.path / "claim.csv", rows)
    write_text(folder.path / "claim.md", claim.markdown())
    claim.draw(folder.path / "claim.png")
    if pictures:
        save_image(folder.path / "shapes.png", np.concatenate(pictures))
    show(claim.table())
    console().print(f"claim    {folder.path}: claim.md, claim.csv, claim.png, shapes.png")


def scored(method: R2N2, scene: Scene, orders: int) -> list[Row]:
    """IoU of one object after each number of views.

    Returns:
        A row for each number n: ``recurrent``, after the first n views; ``averaged``, of the mean of the
        probabilities that the network gives each of them alone; and over the orders of these very n views
        ``order_spread``, the standard deviation of the IoU, and ``order_agreement``, the mean IoU between what
        two orders give.
    """
    views, truth = scene.observation, scene.target
    assert isinstance(views, Views)
    assert isinstance(truth, Truth)
    assert truth.voxels is not None
    images, true, level = method.seen(views), truth.voxels.grid, method.level
    alone = probabilities(method, images[:, None])[:, -1]
    after = probabilities(method, images[None])[0]
    rng, rows = np.random.default_rng(0), []
    for n in range(1, len(images) + 1):
        shuffled = torch.stack([images[torch.from_numpy(rng.permutation(n))] for _ in range(orders)])
        others = probabilities(method, shuffled, last=True)
        pairs = [voxel_iou(a, b >= level, level) for i, a in enumerate(others) for b in others[i + 1 :]]
        rows.append(
            {
                "scene": views.name,
                "category": scene.category,
                "views": n,
                "recurrent": float(voxel_iou(after[n - 1], true, level)),
                "averaged": float(voxel_iou(alone[:n].mean(dim=0), true, level)),
                "order_spread": float(voxel_iou(others, true, level).std(correction=0)),
                "order_agreement": float(torch.stack(pairs).mean()),
            }
        )
    return rows


def probabilities(method: R2N2, images: torch.Tensor, last: bool = False) -> torch.Tensor:
    """(B, V, n, n, n) probabilities after each of (B, V, 3, S, S) views, or (B, n, n, n) after the last alone."""
    with torch.no_grad():
        logits = method.net(images.to(method.device), None, not last)[0].float().cpu()
    return (logits.select(-4, 1) - logits.select(-4, 0)).sigmoid()


def _scenes(words: Sequence[str]) -> list[Scene]:
    cfg = compose("config", ["task=test", *words])
    data = build.build_data(cfg)
    data.use(Views, Voxels)
    return list(loaded(data, data.selected("test")))
