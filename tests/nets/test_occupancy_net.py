"""Occupancy networks of any size: shapes, gradients, refusals, and that batches and queries do not mix."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from recon.errors import ConfigError
from recon.losses.occupancy import occupancy_loss
from recon.nets.alternating import poolings
from recon.nets.occupancy_net import OccupancyNet

ALTO: dict[str, Any] = {"width": 8}
CONVONET: dict[str, Any] = {"width": 8, "alternating": False, "decoder": "simple"}
SIZES = [
    pytest.param({**ALTO, "latent": "triplane", "resolution": 16}, id="alto"),
    pytest.param({**ALTO, "latent": "triplane", "resolution": 24, "levels": 5, "hidden": 12}, id="alto-deep"),
    pytest.param({**ALTO, "latent": "triplane", "resolution": 7, "levels": 2, "heads": 2}, id="alto-odd"),
    pytest.param({**ALTO, "latent": "volume", "resolution": 8}, id="alto-volume"),
    pytest.param({**ALTO, "latent": "volume", "resolution": 6, "levels": 3, "heads": 1}, id="alto-volume-3"),
    pytest.param({**CONVONET, "latent": "triplane", "resolution": 16}, id="convonet"),
    pytest.param({**CONVONET, "latent": "triplane", "resolution": 16, "levels": 5, "hidden": 12}, id="convonet-5"),
    pytest.param({**CONVONET, "latent": "volume", "resolution": 8, "levels": 3}, id="convonet-volume"),
]


def _awake(**options: Any) -> OccupancyNet:
    """A network in which no layer is zero, as some are at the start."""
    net = OccupancyNet(**options)
    for name, parameter in net.named_parameters():
        if name.endswith("second.weight"):
            torch.nn.init.normal_(parameter, std=0.3)
    return net


def _batch(items: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.rand(items, 60, 3) - 0.5, 1.2 * torch.rand(items, 40, 3) - 0.6, torch.rand(items, 40) < 0.5


@pytest.mark.parametrize("options", SIZES)
def test_every_parameter_gets_a_gradient_and_none_is_zero(options: dict[str, Any]) -> None:
    net = _awake(**options)
    points, queries, inside = _batch()
    logits = net(points, queries)
    assert logits.shape == inside.shape
    occupancy_loss(logits, inside).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("options", SIZES)
def test_items_do_not_mix_and_decoding_in_pieces_is_the_same(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = _awake(**options)
    points, queries, _ = _batch()
    together = net(points, queries)
    monkeypatch.setattr("recon.nets.occupancy_net.CHUNK", {"cpu": 16})
    with torch.no_grad():
        alone = [net(points[n : n + 1], queries[n : n + 1]) for n in range(2)]
    torch.testing.assert_close(torch.cat(alone), together.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", SIZES)
def test_it_is_the_same_every_time(options: dict[str, Any]) -> None:
    net = _awake(**options)
    points, queries, inside = _batch()
    found = []
    for _ in range(2):
        net.zero_grad()
        occupancy_loss(net(points, queries), inside).backward()
        found.append([p.grad.clone() for p in net.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_latents_go_by_their_names() -> None:
    points = torch.rand(2, 60, 3) - 0.5
    planes = OccupancyNet("triplane", 8, 8).encode(points).planes
    assert {name: tuple(plane.shape) for name, plane in planes.items()} == dict.fromkeys(
        ("xz", "xy", "yz"), (2, 8, 8, 8)
    )
    assert OccupancyNet("volume", 8, 8).encode(points).grid.shape == (2, 8, 8, 8, 8)


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        ({"resolution": 30}, "resolution=30"),
        ({"resolution": 20, "alternating": False}, "resolution=20"),
        ({"levels": 1}, "levels=1"),
        ({"latent": "sphere"}, "latent=sphere"),
        ({"levels": 5, "legacy": True}, "levels=5"),
        ({"padding": 0.2, "legacy": True}, "padding=0.2"),
        ({"hidden": 16, "legacy": True}, "hidden"),
    ],
)
def test_what_cannot_be_is_refused_by_name(options: dict[str, Any], culprit: str) -> None:
    with pytest.raises(ConfigError, match=culprit) as refused:
        OccupancyNet(**options)
    assert refused.value.mend


@pytest.mark.parametrize(("levels", "times"), [(2, 0), (3, 1), (4, 2), (6, 4)])
def test_an_alternating_net_keeps_its_finest_resolution_for_two_stages(levels: int, times: int) -> None:
    assert poolings(levels) == times


@pytest.mark.parametrize(
    ("latent", "published", "dead"), [("triplane", 2_763_073, 15_648), ("volume", 5_064_801, 23_872)]
)
def test_published_sizes_less_what_no_output_depends_on(latent: Any, published: int, dead: int) -> None:
    assert sum(p.numel() for p in OccupancyNet(latent).parameters()) == published - dead


def test_loss_is_summed_over_queries_and_averaged_over_shapes() -> None:
    logits, inside = torch.zeros(4, 10), torch.ones(4, 10, dtype=torch.bool)
    assert occupancy_loss(logits, inside).item() == pytest.approx(10 * 0.6931472)
