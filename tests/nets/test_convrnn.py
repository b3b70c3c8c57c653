from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from recon.errors import ConfigError
from recon.losses.voxels import occupancy, voxel_cross_entropy
from recon.nets.convrnn import R2N2, ConvRNN
from recon.nets.host_memory import keep_host_memory
from recon.nets.r2n2_layout import LAYOUTS, sides_pooled_to
from recon.nets.upconv import UpConv3d, upsample

SMALL: dict[str, Any] = {"encoder": (4, 6, 6, 6, 8, 8), "feature": 12, "hidden": 8, "decoder": (8, 6, 5, 4)}
VARIANTS = [
    {"family": family, "cell": cell, "kernel": kernel, "residual": residual}
    for family, cell, kernel in (
        ("torch", "lstm", 3),
        ("torch", "gru", 3),
        ("original", "lstm", 1),
        ("original", "gru", 3),
    )
    for residual in (False, True)
]


def _net(**options: Any) -> R2N2:
    return R2N2(**(SMALL | options))


def _views(net: R2N2, batch: int = 2, views: int = 3) -> torch.Tensor:
    side = LAYOUTS[net.family].image
    return torch.rand(batch, views, 3, side, side)


@pytest.mark.parametrize(
    ("options", "encoder", "recurrence", "decoder"),
    [
        ({}, 3_239_936, 26_517_888, 1_163_298),
        ({"family": "original", "kernel": 1}, 4_550_656, 25_215_360, 1_163_298),
        ({"family": "original", "cell": "gru"}, 4_550_656, 26_493_312, 1_163_298),
        ({"family": "original", "cell": "gru", "residual": True}, 7_252_832, 26_493_312, 2_222_562),
    ],
)
def test_published_numbers_of_parameters(options: dict[str, Any], encoder: int, recurrence: int, decoder: int) -> None:
    with torch.device("meta"):
        net = R2N2(**options)
    parts = (net.encoder, net.recurrence, net.decoder)
    assert [sum(p.numel() for p in part.parameters()) for part in parts] == [encoder, recurrence, decoder]


@pytest.mark.parametrize("upsampling", ["nearest", "zeros"])
def test_doubling_in_the_convolution_is_doubling_before_it(upsampling: Any) -> None:
    layer = UpConv3d(3, 5, upsampling).double()
    x = torch.randn(2, 3, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    plain = F.conv3d(upsample(x, upsampling), layer.weight, layer.bias, padding=1)
    ours = layer(x)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-12)
    gradient = torch.randn_like(plain)
    wanted = (x, layer.weight, layer.bias)
    for a, b in zip(*(torch.autograd.grad(y, wanted, gradient) for y in (ours, plain)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)


def test_zeros_are_inserted_behind_the_first_corner() -> None:
    x = torch.arange(1.0, 9.0).view(1, 1, 2, 2, 2)
    fine = upsample(x, "zeros")
    torch.testing.assert_close(fine[:, :, ::2, ::2, ::2], x)
    assert fine.sum() == x.sum()


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("kernel", [1, 3])
def test_recurrence_is_that_of_the_paper(cell: Any, kernel: int) -> None:
    """Gate by gate, with a convolution of the zero state at the first view."""
    cells = ConvRNN(cell, kernel, feature=5, hidden=4, grid=3, bias=True).double()
    features = torch.randn(2, 3, 5, dtype=torch.float64)
    h = c = torch.zeros(2, 4, 3, 3, 3, dtype=torch.float64)
    for view in range(3):
        x = cells.inputs(features[:, view]).view(2, 12, 3, 3, 3)
        near = lambda g, cells=cells: F.conv3d(g, cells.neighbours.weight, cells.neighbours.bias, padding=kernel // 2)  # noqa: E731
        a, b, g = (x + near(h)).chunk(3, dim=1)
        if cell == "lstm":
            c = b.sigmoid() * c + a.sigmoid() * g.tanh()
            h = c.tanh()
        else:
            g = (x + near(b.sigmoid() * h)).chunk(3, dim=1)[2]
            h = a.sigmoid() * h + (1 - a.sigmoid()) * g.tanh()
    grids, state = cells(features)
    torch.testing.assert_close(grids[:, -1], h, rtol=0, atol=1e-13)
    torch.testing.assert_close(state, (h, c) if cell == "lstm" else (h,), rtol=0, atol=1e-13)


@pytest.mark.parametrize("options", VARIANTS)
def test_views_one_by_one_equal_views_at_once(options: dict[str, Any]) -> None:
    net = _net(**options)
    images = _views(net)
    with torch.no_grad():
        every, last = net(images, every=True)
        torch.testing.assert_close(net(images)[0], every[:, -1])
        state = None
        for view in range(images.shape[1]):
            logits, state = net.step(state, images[:, view])
            torch.testing.assert_close(logits, every[:, view], rtol=0, atol=1e-5)
    torch.testing.assert_close(state, last, rtol=0, atol=1e-5)
    assert every.shape == (2, 3, 2, 32, 32, 32)


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("options", VARIANTS)
def test_every_parameter_has_a_gradient(options: dict[str, Any], views: int) -> None:
    """Data-parallel training waits for all of them, also where a batch has one view."""
    net = _net(**options)
    voxel_cross_entropy(net(_views(net, views=views))[0], torch.zeros(2, 32, 32, 32)).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(("resolution", "decoder"), [(8, (6, 4)), (64, (8, 6, 5, 4, 3)), (128, None)])
def test_other_resolutions(resolution: int, decoder: Any) -> None:
    net = _net(resolution=resolution, decoder=decoder, hidden=4)
    logits, _ = net(_views(net, batch=1, views=1))
    assert logits.shape == (1, 2, resolution, resolution, resolution)


def test_default_widths_go_on_halving() -> None:
    with torch.device("meta"):
        widths = {r: [s.a.out_channels for s in R2N2(resolution=r).decoder.stages] for r in (32, 64, 128)}
    assert widths == {32: [128, 128, 64, 32], 64: [128, 128, 64, 32, 16], 128: [128, 128, 64, 32, 16, 8]}


@pytest.mark.parametrize("family", ["torch", "original"])
@pytest.mark.parametrize("pooled", [2, 3, 5])
def test_sides_that_pool_to_a_side(family: Any, pooled: int) -> None:
    layout = LAYOUTS[family]
    fitting = [side for side in range(1, 600) if layout.pooled(side, 6) == pooled]
    assert list(sides_pooled_to(layout, pooled, 6)) == fitting


def test_other_images() -> None:
    net = _net(image=224)
    assert net(torch.rand(1, 1, 3, 200, 224))[0].shape == (1, 2, 32, 32, 32)
    with pytest.raises(ConfigError, match=r"128 x 128 pixels do not fit.*\n.*192 to 255"):
        net(torch.rand(1, 1, 3, 128, 128))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 48}, r"4\^3 cells cannot be doubled to 48\^3"),
        ({"resolution": 4}, r"cannot be doubled to 4\^3"),
        ({"resolution": 64}, "doubles its grid 4 times has 5 layers"),
        ({"kernel": 2}, "kernel of 2"),
        ({"image": 63}, "nothing is left after 6 poolings"),
        ({"residual": True, "encoder": (4, 6, 6, 6, 6, 8)}, "takes 6 channels and gives 8"),
    ],
)
def test_sizes_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _net(**options)


def test_the_authors_initialisation() -> None:
    """Deviations sqrt(2 / n) with n the mean of inputs and outputs; the gates are layers of their own."""
    net = R2N2("original", "gru", encoder=(16, 32, 32, 32, 32, 32), feature=64, hidden=32, decoder=(32, 32, 16, 8))
    assert all(bool((p == 0.1).all()) for name, p in net.named_parameters() if name.endswith("bias"))
    wanted = {
        net.encoder.blocks[1].a: (16 + 32) * 9 / 2,
        net.encoder.fc: (9 * 32 + 64) / 2,
        net.recurrence.inputs: (64 + 32 * 64) / 2,
        net.recurrence.neighbours: (32 + 32) * 27 / 2,
        net.decoder.stages[0].a: (32 + 32) * 27 / 2,
    }
    for layer, n in wanted.items():
        assert float(layer.weight.detach().std()) == pytest.approx((2 / n) ** 0.5, rel=0.03)


def test_the_ports_initialisation_is_pytorchs() -> None:
    net = _net()
    bound = 1 / (8 * 27) ** 0.5  # uniform, of a convolution from 8 channels
    assert 0.9 * bound < float(net.recurrence.neighbours.weight.detach().abs().max()) <= bound


def test_loss_is_the_mean_cross_entropy() -> None:
    logits, occupied = torch.randn(2, 2, 4, 4, 4, dtype=torch.float64) * 30, torch.rand(2, 4, 4, 4) < 0.3
    assert float(voxel_cross_entropy(logits, occupied)) == pytest.approx(
        float(F.cross_entropy(logits, occupied.long()))
    )
    torch.testing.assert_close(occupancy(logits), logits.softmax(dim=1)[:, 1])


def test_memory_can_be_kept() -> None:
    assert keep_host_memory() in (True, False)
    assert torch.ones(1000, 1000).sum() == 1e6


@pytest.mark.parametrize("options", VARIANTS)
def test_mixed_precision_trains(options: dict[str, Any]) -> None:
    net = _net(**options)
    images, occupied = _views(net, views=2), torch.rand(2, 32, 32, 32) < 0.3
    loss = voxel_cross_entropy(net(images)[0], occupied)
    with torch.autocast("cpu", torch.bfloat16):
        rough = voxel_cross_entropy(net(images)[0], occupied)
    assert rough.item() == pytest.approx(loss.item(), rel=0.05)
    rough.backward()
    assert all(bool(p.grad.isfinite().all()) for p in net.parameters())
