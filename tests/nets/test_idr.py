"""IDR's networks and Iso-Points': gradients against autograd, both namings of weight norm, the authors' checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from recon.errors import CheckpointError, ConfigError
from recon.nets.encoding import encode, encoded_width, pull_back
from recon.nets.frozen import Frozen
from recon.nets.idr import ImplicitNetwork
from recon.nets.idr_weights import load_networks, load_poses
from recon.nets.rendering_net import RenderingNetwork
from recon.nets.sdf import MLP
from recon.nets.siren import Siren
from recon.nets.weight_norm import NormedLinear, legacy_keys, parametrized_keys


def _net(**changes: object) -> ImplicitNetwork:
    torch.manual_seed(0)
    net = ImplicitNetwork(**{"features": 5, "widths": (80, 80, 80, 80), "skip": (2,), "frequencies": 2, **changes})
    for parameter in net.parameters():  # off the start, where much is zero
        parameter.data += 0.05 * torch.randn_like(parameter)
    return net


@pytest.mark.parametrize("squash", [False, True])
def test_value_features_gradient_and_their_derivatives_equal_autograd(squash: bool) -> None:
    net = _net(squash=squash).double()
    x = (0.5 * torch.randn(30, 3, dtype=torch.float64)).requires_grad_()
    wanted = [x, *net.parameters()]

    def loss(outputs: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        return outputs.square().sum() + (gradient.norm(dim=-1) - 1).square().sum() + gradient[:, 0].sum()

    reference = net.outputs(x)
    (slope,) = torch.autograd.grad(reference[:, 0].sum(), x, create_graph=True)
    expected = torch.autograd.grad(loss(reference, slope[4:]), wanted, allow_unused=True)
    outputs, gradient = net.outputs_and_gradient(x, start=4)
    torch.testing.assert_close(outputs, reference)
    torch.testing.assert_close(gradient, slope[4:])
    for ours, theirs in zip(torch.autograd.grad(loss(outputs, gradient), wanted), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


def test_wide_layers_that_a_skip_made_odd_give_as_many_outputs() -> None:
    net = _net(features=256, widths=(160,) * 4, frequencies=6)
    x = 0.5 * torch.randn(20, 3)
    outputs, _ = net.outputs_and_gradient(x)
    assert outputs.shape == (20, 257)
    torch.testing.assert_close(outputs, net.outputs(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("net", [_net(), _net(squash=True), MLP(widths=(24,) * 5, skip=(2,)), Siren(width=24, depth=2)])
def test_frozen_fields_are_the_field(net: ImplicitNetwork) -> None:
    x = torch.randn(10_000, 3).mul(0.4)
    frozen = Frozen(net)
    torch.testing.assert_close(frozen(x), net(x).detach(), rtol=1e-4, atol=1e-5)
    assert not frozen(x).requires_grad
    assert frozen(x[:0]).shape == (0,)
    before = frozen(x[:5]).clone()
    for parameter in net.parameters():
        parameter.data += 0.1
    assert torch.equal(frozen(x[:5]), before)


def test_the_initial_field_is_negative_within_and_positive_without() -> None:
    torch.manual_seed(1)
    net = ImplicitNetwork(features=4, widths=(256,) * 8)
    directions = torch.nn.functional.normalize(torch.randn(200, 3), dim=1)
    with torch.no_grad():
        assert (net(0.05 * directions) < 0).all()
        assert (net(1.5 * directions) > 0).all()


def test_the_encoding_and_its_pull_back() -> None:
    x = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    encoding = encode(x, 3)
    assert encoding.shape == (7, encoded_width(3, 3))
    torch.testing.assert_close(encoding[:, 9:15], torch.cat([(2 * x).sin(), (2 * x).cos()], dim=1))
    slopes = torch.randn_like(encoding)
    (expected,) = torch.autograd.grad((encoding * slopes).sum(), x, retain_graph=True)
    torch.testing.assert_close(pull_back(encoding, slopes, 3), expected)
    assert torch.equal(encode(x, 0), x)


def test_weight_norm_is_torchs_under_both_names() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(6, 4)
    ours = NormedLinear(linear)
    new = nn.utils.parametrizations.weight_norm(nn.Linear(6, 4))
    for key in ("weight_g", "weight_v", "bias"):
        getattr(ours, key).data.uniform_(0.5, 1.5)
    new.load_state_dict(parametrized_keys(ours.state_dict()))
    x = torch.randn(3, 6)
    torch.testing.assert_close(ours(x), new(x))
    back = legacy_keys(new.state_dict())
    assert all(torch.equal(back[key], value) for key, value in ours.state_dict().items())
    assert torch.equal(NormedLinear(linear).weight_v, linear.weight)
    torch.testing.assert_close(NormedLinear(linear)(x), linear(x))


@pytest.mark.parametrize(("mode", "unseen"), [("no_view_dir", 2), ("no_normal", 1), ("idr", None)])
def test_a_mode_leaves_out_what_it_says(mode: str, unseen: int | None) -> None:
    torch.manual_seed(0)
    net = RenderingNetwork(6, mode=mode, widths=(16, 16))
    inputs = [torch.randn(9, n) for n in (3, 3, 3, 6)]
    colours = net(*inputs)
    assert colours.abs().max() <= 1
    for number in range(4):
        changed = [x + 1.0 if n == number else x for n, x in enumerate(inputs)]
        assert torch.equal(net(*changed), colours) == (number == unseen)


def test_an_impossible_skip_is_refused() -> None:
    with pytest.raises(ConfigError, match="skip"):
        ImplicitNetwork(widths=(64, 64), skip=(2,))


def _saved(path: Path, content: dict[str, object]) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("rename", [dict, parametrized_keys])
@pytest.mark.parametrize("mode", ["idr", "no_view_dir", "no_normal"])
def test_checkpoints_of_idr_load(tmp_path: Path, mode: str, rename: type) -> None:
    net, colours = _net(), RenderingNetwork(5, mode=mode, widths=(16, 16))
    state = {f"implicit_network.{key}": value for key, value in net.state_dict().items()}
    state |= {f"module.rendering_network.{key}": value for key, value in colours.state_dict().items()}
    path = _saved(tmp_path / "latest.pth", {"epoch": 2000, "model_state_dict": rename(state)})
    loaded = load_networks(path)
    x = torch.randn(6, 3)
    assert torch.equal(loaded.field(x), net(x))
    views, features = torch.randn(6, 3), torch.randn(6, 5)
    assert loaded.colours is not None
    assert torch.equal(loaded.colours(x, x, views, features), colours(x, x, views, features))


def test_checkpoints_of_isopoints_load(tmp_path: Path) -> None:
    net, colours = _net(squash=True), RenderingNetwork(5, widths=(16, 16), layout="isopoints")
    state = {f"decoder.{key}": value for key, value in net.state_dict().items()}
    state |= {f"texture.decoder.{key}": value for key, value in colours.state_dict().items()}
    loaded = load_networks(_saved(tmp_path / "model.pt", {"model": state, "epoch_it": 3, "it": 9}))
    x = torch.randn(6, 3)
    assert torch.equal(loaded.field(x), net(x))
    assert loaded.colours is not None
    assert loaded.colours.layout == "isopoints"


def test_sirens_of_isopoints_load(tmp_path: Path) -> None:
    net = Siren(width=16, depth=4)
    names = {f"lin{n}": f"decoder.net.{n}.linear" if n < 4 else "decoder.net.4" for n in range(5)}
    state = {names[key.split(".")[0]] + "." + key.split(".")[1]: value for key, value in net.state_dict().items()}
    loaded = load_networks(_saved(tmp_path / "model.pt", {"model": state}))
    x = torch.randn(6, 3)
    assert torch.equal(loaded.field(x), net(x))
    assert loaded.colours is None


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda state: state.pop("implicit_network.lin1.weight_v"), "lin1.weight_v"),
        (lambda state: state.pop("implicit_network.lin1.bias"), "lin1.bias"),
        (lambda state: state.clear(), "lin0.weight_v"),
        (lambda state: state.update({"implicit_network.lin0.weight_v": torch.zeros(80, 14)}), "not IDR's"),
        (lambda state: state.update({"rendering_network.lin0.weight_v": torch.zeros(3, 12)}), "features"),
        (lambda state: state.update({"implicit_network.lin9.bias": torch.zeros(3)}), "lin9.bias"),
        (lambda state: state.update(epoch=3), "no weights"),
    ],
)
def test_damaged_checkpoints_are_refused_by_name(tmp_path: Path, change, match: str) -> None:
    state = {f"implicit_network.{key}": value for key, value in _net().state_dict().items()}
    change(state)
    path = _saved(tmp_path / "latest.pth", {"model_state_dict": state})
    with pytest.raises(CheckpointError, match=match) as error:
        load_networks(path)
    assert "latest.pth" in str(error.value)


def test_learned_cameras_load(tmp_path: Path) -> None:
    rows = torch.randn(4, 7)
    path = _saved(tmp_path / "cameras.pth", {"epoch": 1, "pose_vecs_state_dict": {"weight": rows}})
    assert torch.equal(load_poses(path), rows)
    for bad in (rows[:, :6], rows * torch.nan, rows * torch.tensor([0.0, 0, 0, 0, 1, 1, 1])):
        with pytest.raises(CheckpointError, match="poses"):
            load_poses(_saved(tmp_path / "bad.pth", {"pose_vecs_state_dict": {"weight": bad}}))
    with pytest.raises(CheckpointError, match="pose_vecs_state_dict"):
        load_poses(_saved(tmp_path / "other.pth", {"model_state_dict": {}}))
