"""ALTO's networks against numbers recorded from the authors' program.

Files are found by listing, and sizes, seeds and keys are read from them, so another set of the same layout serves
as well. Metrics and MISE have files of their own.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recon.losses.occupancy import occupancy_loss
from recon.nets.alto_weights import author_names, is_stacked, read_authors
from recon.nets.grids import PLANES, bins, unit_coordinates
from recon.nets.occupancy_net import Latent, OccupancyNet

ROOT = Path(os.environ.get("RECON_PARITY_DIR") or Path(__file__).parents[3] / "shared" / "parity") / "alto"
CASES = [path for path in sorted(ROOT.rglob("*.json")) if "kind" in json.loads(path.read_text())]
ZERO = "attention_mlp.2.bias"  # analytically: what is recorded is rounding


def _files(paths: list[Path]) -> list[Any]:
    return [pytest.param(path, id=f"{path.parent.name}/{path.stem}") for path in paths]


def _holding(prefix: str) -> list[Any]:
    """The cases whose arrays include some of this prefix."""
    return _files([p for p in CASES if any(k.startswith(prefix) for k in np.load(p.with_suffix(".npz")).files)])


def _recipe(kind: str, seed: int) -> dict[str, Tensor]:
    """The weights of a case that stores none, as its README says to make them."""
    shapes = json.loads(next(ROOT.rglob(f"shapes_{'triplane' if kind == 'tri' else 'volume'}.json")).read_text())
    state = {}
    for key, shape in shapes.items():
        x = np.random.RandomState((zlib.crc32(key.encode()) + seed) % 2**32).standard_normal(shape)
        if "groupnorm.weight" in key:
            x = 1 + 0.1 * x
        elif len(shape) == 1:
            x = 0.1 * x
        elif any(part in key for part in (".upconv.", "up_convs.0.conv1x1", "up_convs.1.conv1x1")):
            x = x * 0.7 / np.sqrt(shape[0])
        elif len(shape) == 2:
            x = x * 0.8 / np.sqrt(shape[1])
        else:
            x = x * 0.9 / np.sqrt(np.prod(shape[1:]))
        state[key] = torch.from_numpy(x.astype(np.float32))
    return state


def _net(path: Path, folder: Path) -> OccupancyNet:
    """The case's network, through a file as the authors write it and a user gives it."""
    case = json.loads(path.read_text())
    weights = path.with_name(f"{path.stem}_weights.pt")
    if case["weights"] == "recipe":
        weights = folder / "model.pt"
        torch.save({"model": _recipe(case["kind"], case["seed"]), "loss_val_best": np.float64(0.5)}, weights)
    resolution = case["encoder_kwargs"].get("plane_resolution") or case["encoder_kwargs"]["grid_resolution"]
    net, unused = read_authors(weights).net(resolution)
    assert sum(p.numel() for p in net.parameters()) < case["n_params"]
    assert any("fc_interpolated_fea" in name for name in unused)
    return net


def _tensors(data: Any, *names: str) -> list[Tensor]:
    return [torch.from_numpy(data[name]) for name in names]


def _grids(latent: Latent) -> dict[str, Tensor]:
    return {"grid": latent.grid} if latent.kind == "volume" else latent.planes


def _far(ours: Tensor, theirs: np.ndarray) -> float:
    return float(np.abs(ours.detach().numpy() - theirs).max())


@pytest.mark.parametrize("path", _files(CASES))
@torch.no_grad()
def test_logits_loss_and_latents_are_the_authors(path: Path, tmp_path: Path) -> None:
    data = np.load(path.with_suffix(".npz"))
    net = _net(path, tmp_path)
    points, queries, inside = _tensors(data, "points", "queries", "occ")
    latent = net.encode(points)
    logits = net.decode(latent, queries)
    assert _far(logits, data["logits"]) <= 1e-4
    net.decoder.layout = "aligned"
    assert _far(net.decode(latent, queries), data["logits"]) > 0.1
    assert occupancy_loss(logits, inside).item() == pytest.approx(float(data["loss"]), rel=1e-5)
    for name, grid in _grids(latent).items():
        if f"latent.{name}" in data:
            assert _far(grid, data[f"latent.{name}"]) <= 1e-4
        else:
            stats = [grid.mean(), grid.std(), grid.abs().max()]
            np.testing.assert_allclose(stats, data[f"latent_stats.{name}"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("path", _holding("grad_norms"))
def test_gradients_are_the_authors(path: Path, tmp_path: Path) -> None:
    data = np.load(path.with_suffix(".npz"))
    net = _net(path, tmp_path)
    points, queries, inside = _tensors(data, "points", "queries", "occ")
    occupancy_loss(net(points, queries), inside).backward()
    found = {}
    for key, names in author_names(net).items():
        gradient = net.get_parameter(key).grad
        assert gradient is not None, key
        found.update(zip(names, gradient if is_stacked(key) else [gradient], strict=True))
    for name, norm in zip(data["grad_names"], data["grad_norms"], strict=True):
        if name in found:
            assert found[name].norm().item() == pytest.approx(norm, rel=1e-3), name
            if f"grad.{name}" in data:
                assert _far(found[name], data[f"grad.{name}"]) <= 1e-3 * norm
        else:
            assert norm == -1 or name.endswith(ZERO), name


@pytest.mark.parametrize("path", _holding("trace."))
def test_every_stage_is_the_authors(path: Path, tmp_path: Path) -> None:
    data = np.load(path.with_suffix(".npz"))
    net = _net(path, tmp_path)
    seen: dict[str, Any] = {}
    watched = {"point_feat_after_fc_c": net.points, "attended": net.decoder.head}
    ways = ("enc", "dec") if net.kind == "volume" else ("down", "up")
    for way, stages in zip(ways, (net.unet.down, net.unet.up), strict=True):
        watched.update({f"{way}{number}": stage for number, stage in enumerate(stages)})
    for name, module in watched.items():
        module.register_forward_hook(lambda _, given, answer, name=name: seen.update({name: (given, answer)}))
    points, queries = _tensors(data, "points", "queries")
    net(points, queries)
    compared = [key for key in data.files if key.startswith("trace.") and _traced(key, data[key], seen, net)]
    assert len(compared) == sum(key.startswith("trace.") for key in data.files)


def _traced(key: str, theirs: np.ndarray, seen: dict[str, Any], net: OccupancyNet) -> bool:
    stage, *rest = key.split(".")[1:]
    if stage.startswith("attn"):
        features = seen["attended"][0][0]
        ours = features if stage == "attn" else features.chunk(3, dim=1)[int(stage[-1]) - 1]
    elif not rest:
        ours = seen[stage][1]
    elif rest[0] == "c":
        ours = seen[stage][1][2]
    else:
        ours = _grids(Latent(net.kind, seen[stage][1][1]))[rest[1]]
    return _far(ours.reshape(theirs.shape), theirs) <= 1e-4 * max(1.0, float(np.abs(theirs).max()))


@pytest.mark.parametrize("path", _files([p for p in sorted(ROOT.rglob("*.npz")) if "n_grid" in np.load(p).files]))
def test_coordinates_and_bins_are_the_authors(path: Path) -> None:
    data = np.load(path)
    points = torch.from_numpy(data["p"])
    found = [*unit_coordinates(points, "triplane"), *unit_coordinates(points, "volume")]
    u = dict(zip((*PLANES, "grid"), found, strict=True))
    compared = 0
    for key in data.files:
        kind, _, rest = key.partition("_")
        if kind == "n":
            np.testing.assert_array_equal(u[rest].numpy(), data[key])
        elif kind == "i":
            name, resolution = rest.split("_")
            np.testing.assert_array_equal(bins(u[name], int(resolution)).numpy(), data[key])
        compared += kind in ("n", "i")
    assert compared
