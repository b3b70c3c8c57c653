"""Convolutional occupancy networks: they learn, at a constant rate, with as many levels as the grid can be halved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from recon.errors import ConfigError
from recon.methods.convonet import ConvONet
from recon.methods.occupancy import logit
from recon.observations import Points
from tests.methods.test_alto import balls, batch, loader, trainer


@pytest.mark.parametrize(("latent", "levels"), [("triplane", 4), ("volume", 2)])
def test_it_learns_balls(latent: Any, levels: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    method = ConvONet(latent, 8, 8, levels=levels, lr=5e-3, val_every=1)
    fit = trainer(tmp_path, max_epochs=20, check_val_every_n_epoch=20)
    rates = []
    method.on_before_optimizer_step = lambda optimizer: rates.append(optimizer.param_groups[0]["lr"])
    fit.fit(method, balls(), loader(batch(seed=70)))
    assert float(fit.callback_metrics["val/iou"]) > 0.7
    assert set(rates) == {5e-3}


def test_its_surface_is_where_the_chance_is_a_fifth() -> None:
    cloud = Points(batch().observation.points[0])
    surface = ConvONet(resolution=8, width=8).reconstruct(cloud)
    assert surface.level == pytest.approx(logit(0.2))
    assert surface.high == pytest.approx((0.55,) * 3)


def test_grids_that_cannot_be_halved_so_often_are_refused() -> None:
    with pytest.raises(ConfigError, match="resolution=12"):
        ConvONet(resolution=12, levels=4)
