"""The claim about views: what is scored, and what is said of it."""

import numpy as np
import pytest
import torch

from recon.geometry.voxel_mesh import boundary_mesh
from recon.methods.r2n2 import R2N2
from recon.metrics.voxels import voxel_iou
from recon.observations import Scene, Truth, Views, Voxels
from recon.report.curves import Curve
from recon.report.growth import growth_strip, shown_views
from recon.report.growth_claim import GrowthClaim
from recon.tasks.claim_views import scored


@pytest.fixture
def scene():
    grid = torch.zeros(32, 32, 32)
    grid[8:24, 8:24, 8:24] = 1
    views = Views(torch.rand(4, 3, 128, 128), name="cube")
    return Scene(views, Truth(boundary_mesh(grid.numpy() > 0), voxels=Voxels(grid)), category="box")


def test_scores_are_those_of_the_network(scene):
    method = R2N2(encoder=(4, 4, 6, 6, 6, 6), feature=16, hidden=4).eval()
    method.threshold = float(method.net(scene.observation.rgb[None])[0].softmax(1)[:, 1].median().detach())
    rows = scored(method, scene, orders=3)
    assert [row["views"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["recurrent"] == rows[0]["averaged"]
    assert rows[0]["order_spread"] == 0
    assert rows[0]["order_agreement"] == 1
    with torch.no_grad():
        three = method.net(scene.observation.rgb[None, :3])[0].softmax(1)[0, 1]
    true = scene.target.voxels.grid
    assert rows[2]["recurrent"] == pytest.approx(float(voxel_iou(three, true, method.level)), abs=1e-3)
    assert 0 < rows[3]["order_agreement"] <= 1


def claim(steps: int, gain: float) -> GrowthClaim:
    rows = [
        {
            "seed": seed, "scene": f"s{n}", "category": "a", "views": n, "recurrent": 0.4 + 0.1 * n + 0.02 * seed,
            "averaged": 0.4 + 0.1 * n - gain, "order_spread": 0.01, "order_agreement": 0.9,
        }
        for seed in (0, 1)
        for n in (1, 2)
    ]  # fmt: skip
    values = list(np.minimum(np.arange(steps) / 10, 0.5))
    return GrowthClaim("Views", rows, {"seed 0": Curve("val/iou", list(range(99, 100 * steps, 100)), values)})


def test_a_claim_says_what_its_figures_say(tmp_path):
    told = claim(20, gain=0.05)
    assert told.heading == "Views (2000 steps)"
    assert "unconverged" in claim(6, 0.05).heading
    last = told.means()[-1]
    assert (last["recurrent"], last["recurrent ±"]) == pytest.approx((0.61, 0.01))
    assert last["gain"] == pytest.approx(0.06)
    assert "rises in every training: by 0.100" in told.markdown()
    assert "memory beats averaging in every training" in told.markdown()
    assert "memory beats averaging in no training" in claim(20, gain=-0.1).markdown()
    told.draw(tmp_path / "claim.png")
    assert (tmp_path / "claim.png").stat().st_size > 10_000


def test_growth_is_shown_from_the_first_view_to_the_last(scene):
    assert shown_views(3) == [1, 2, 3]
    assert len(shown_views(24)) == 8
    assert (shown_views(24)[0], shown_views(24)[-1]) == (1, 24)
    meshes = [boundary_mesh(np.zeros((4, 4, 4), bool)), boundary_mesh(np.ones((4, 4, 4), bool))]
    views = [np.full((8, 8, 3), 100, np.uint8)] * 2
    picture = growth_strip(views, meshes, [1, 2], size=100)
    assert picture.shape[1] == 200
    below = picture[-60:]
    assert (below[:, :100] == 255).all()  # nothing after the first view
    assert (below[20:40, 140:160] < 250).any()
