"""The explicit gradient must equal autograd's, for every layout, and train in bfloat16 as well."""

from __future__ import annotations

import pytest
import torch

from recon.errors import ConfigError
from recon.nets.activations import LeakyReLU, Sine, Softplus
from recon.nets.fields import build_field
from recon.nets.sdf import MLP
from recon.nets.siren import Siren
from recon.nets.value_gradient import Field


def _nets() -> dict[str, tuple[Field, int]]:
    torch.manual_seed(3)
    authors = {"widths": (24,) * 8}
    nets = {
        "authors": (MLP(**authors), 0),
        "authors 2-D": (MLP(d_in=2, **authors), 0),
        "authors with codes": (MLP(latent=5, **authors), 5),
        "two skips": (MLP(widths=(16, 20, 18, 16), skip=(1, 3)), 0),
        "nnabla": (build_field("nnabla", (24,) * 7, activation="leaky_relu"), 0),
        "nnabla with codes": (MLP(widths=(24,) * 7, latent=4, layout="position_first", initialization="he"), 4),
        "siren": (Siren(width=16, depth=3), 0),
    }
    for net, _ in nets.values():
        net.double()
        for parameter in net.parameters():  # off the symmetric start: biases matter, too
            parameter.data += 0.02 * torch.randn_like(parameter)
    return nets


def _by_autograd(net: Field, x: torch.Tensor, codes: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    x = x if x.requires_grad else x.clone().requires_grad_()
    value = net(x, codes)
    return value, torch.autograd.grad(value.sum(), x, create_graph=True)[0]


@pytest.mark.parametrize("name", list(_nets()))
def test_value_gradient_and_all_second_order_derivatives_equal_autograd(name: str) -> None:
    net, latent = _nets()[name]
    d_in = 2 if "2-D" in name else 3
    codes = torch.randn(3, latent, dtype=torch.float64, requires_grad=True) if latent else None
    x = torch.randn(*((3,) if latent else ()), 40, d_in, dtype=torch.float64).mul(0.5).requires_grad_()
    start = 7
    wanted = [*net.parameters(), x, *([codes] if latent else [])]

    def loss(value: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        return value[..., :20].abs().mean() + (gradient.norm(dim=-1) - 1).square().mean() + gradient[..., 0].sum()

    value, gradient = _by_autograd(net, x, codes)
    gradient = gradient[..., start:, :]
    reference = torch.autograd.grad(loss(value, gradient), wanted, allow_unused=True)
    ours, our_gradient = net.value_and_gradient(x, codes, start=start)
    grads = torch.autograd.grad(loss(ours, our_gradient), wanted)
    torch.testing.assert_close(ours, value, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(our_gradient, gradient, rtol=1e-8, atol=1e-9)
    for ours, theirs in zip(grads, reference, strict=True):
        torch.testing.assert_close(ours, torch.zeros_like(ours) if theirs is None else theirs, rtol=1e-6, atol=1e-8)


def test_values_alone_cost_no_gradient() -> None:
    net, _ = _nets()["authors"]
    x = torch.randn(10, 3, dtype=torch.float64)
    value, gradient = net.value_and_gradient(x, start=10)
    value.square().sum().backward()
    assert gradient.shape == (0, 3)
    ours = {name: p.grad.clone() for name, p in net.named_parameters()}
    net.zero_grad()
    net(x).square().sum().backward()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-7, atol=1e-10)


def test_bfloat16_is_near_float32_and_leaves_the_weights_in_float32() -> None:
    torch.manual_seed(0)
    net = MLP(widths=(128,) * 8)
    x = torch.randn(256, 3) * 0.5
    value, gradient = net.value_and_gradient(x)
    with torch.autocast("cpu", torch.bfloat16):
        half, half_gradient = net.value_and_gradient(x)
    assert half.dtype == half_gradient.dtype == torch.float32
    assert not torch.equal(half, value)
    assert (half - value).abs().max() < 0.03
    assert (half_gradient - gradient).norm(dim=1).mean() < 0.03
    (half.abs().mean() + half_gradient.square().mean()).backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in net.parameters())


def test_softplus_is_exactly_linear_where_torchs_is() -> None:
    a = torch.tensor([0.19, 0.21, 3.0], dtype=torch.float64, requires_grad=True)
    reference = torch.autograd.grad(torch.nn.functional.softplus(a, 100.0).sum(), a)[0]
    value, slope = Softplus(100.0).with_slope(a.detach().clone(), torch.empty_like(a))
    torch.testing.assert_close(slope, reference, rtol=1e-14, atol=0)
    assert slope[1] == slope[2] == 1.0
    assert value[2] == 3.0


@pytest.mark.parametrize("act", [Softplus(7.0), LeakyReLU(0.1), LeakyReLU(0.0), Sine(3.0)])
def test_slope_and_bend_are_the_derivatives(act: object) -> None:
    a = torch.linspace(-1.03, 1.1, 30, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(act(a).sum(), a, create_graph=True)
    value, slope = act.with_slope(a.detach().clone(), torch.empty_like(a))
    torch.testing.assert_close(value, act(a).detach())
    torch.testing.assert_close(slope, first.detach(), rtol=1e-9, atol=1e-12)
    v, d_u = torch.randn(2, 30, dtype=torch.float64)
    bend = act.bend(value, v, v * slope, d_u.clone(), d_u * slope)
    if bend is not None:
        second = torch.autograd.grad(first.sum(), a)[0]
        scale, left, right = bend
        torch.testing.assert_close(scale * left * right, second * v * d_u, rtol=1e-7, atol=1e-9)


def test_geometric_initialisation_is_about_a_sphere() -> None:
    torch.manual_seed(1)
    net = MLP()
    directions = torch.nn.functional.normalize(torch.randn(100, 3), dim=1)
    radii = torch.linspace(0.3, 1.9, 41)
    with torch.no_grad():
        signs = net((directions[:, None] * radii[:, None]).reshape(-1, 3)).view(100, -1) > 0
        assert net(torch.zeros(1, 3)) < 0
    crossings = (signs[:, 1:] != signs[:, :-1]).sum(1)
    assert (crossings == 1).all()
    assert 0.9 < radii[signs.int().argmax(1)].mean() < 1.2


def test_nnabla_initialisation_has_the_published_spreads() -> None:
    torch.manual_seed(0)
    net = build_field("nnabla", (256,) * 7, activation="leaky_relu")
    assert net.lin1.weight.std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.02)
    assert net.lin0.weight.std().item() == pytest.approx((2 / 3) ** 0.5, rel=0.1)
    bound = (6 / 257) ** 0.5
    assert 0.95 * bound < net.lin7.weight.abs().max().item() <= bound
    assert all(not getattr(net, f"lin{i}").bias.any() for i in range(8))
    assert net.lin3.weight.shape == (253, 256)


def test_an_impossible_skip_is_refused() -> None:
    with pytest.raises(ConfigError, match="skip"):
        MLP(widths=(8, 8), skip=(2,))


def test_the_sine_belongs_to_siren() -> None:
    with pytest.raises(ConfigError, match="siren"):
        build_field("authors", activation="sine")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"widths": (16, 20)}, "method.width"),
        ({"skip": (1,)}, "method.skip"),
        ({"activation": "relu"}, "method.activation"),
    ],
)
def test_siren_refuses_what_it_has_not(changes: dict[str, object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        build_field(**{"network": "siren", "widths": (16, 16), "skip": (), "activation": "sine", **changes})
    assert build_field("siren", (16, 16), (), "sine").depth == 2
