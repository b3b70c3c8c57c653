"""IGR against numbers recorded from the authors' program and from the nnabla example's formulas.

Files are found by listing, and sizes, seeds and keys are read from them, so another set of the same layout serves
as well. Metrics have a file of their own.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from recon.geometry.surface import Surface
from recon.io.checkpoints import load_weights
from recon.losses.eikonal import eikonal, normal_error
from recon.losses.igr import Objective
from recon.losses.points import code_length, surface_distance
from recon.methods.igr import IGR
from recon.methods.igr_points import grid_frame, local_sigma, off_surface_points
from recon.methods.igr_shapespace import FIT_SCHEDULE, IGRShapeSpace
from recon.metrics.legacy import nnabla_split
from recon.nets.activations import Activation, LeakyReLU, Softplus
from recon.nets.sdf import MLP
from recon.observations import OrientedPoints, Points

ROOT = Path(os.environ.get("RECON_PARITY_DIR") or Path(__file__).parents[3] / "shared" / "parity") / "igr"
ACTIVATIONS: dict[str, Activation] = {"leaky_relu": LeakyReLU(0.1), "relu": LeakyReLU(0.0), "softplus": Softplus()}


def _files(pattern: str) -> list[Any]:
    return [pytest.param(path, id=f"{path.parent.name}/{path.stem}") for path in sorted(ROOT.rglob(pattern))]


def _expected(pattern: str) -> list[Any]:
    """One parameter for each entry of all expected.json whose name starts so: (folder, name, entry)."""
    found = []
    for path in sorted(ROOT.rglob("expected.json")):
        for name, entry in json.loads(path.read_text()).items():
            if name.startswith(pattern):
                found.append(pytest.param(path.parent, name, entry, id=f"{path.parent.name}/{name}"))
    return found


def _state(data: Any) -> dict[str, Tensor]:
    return {key[3:]: torch.from_numpy(data[key]).float() for key in data.files if key.startswith("sd/")}


def _net(state: dict[str, Tensor], tmp_path: Path) -> MLP:
    """The state through a file of the authors' format, as a user would give it."""
    torch.save({"epoch": 1, "model_state_dict": state}, tmp_path / "net.pth")
    kind, tensors, architecture = load_weights(tmp_path / "net.pth")
    assert kind == "igr_authors"
    net = MLP(**architecture)
    net.load_state_dict(tensors)
    return net


def _split(net: MLP, x: np.ndarray) -> tuple[Tensor, Tensor | None]:
    """Rows [code, position] as one position a code: (N, d), or (N, 1, d) and (N, latent)."""
    rows = torch.from_numpy(x)
    if not net.latent:
        return rows, None
    return rows[:, None, net.latent :], rows[:, : net.latent]


def _close(ours: Tensor, theirs: np.ndarray, relative: float) -> None:
    theirs = theirs.reshape(ours.shape)
    assert np.abs(ours.detach().numpy() - theirs).max() <= relative * np.abs(theirs).max()


@pytest.mark.parametrize("path", [p for p in _files("authors_*.npz") if "loss" not in p.id])
def test_authors_network_gives_their_values_and_gradients(path: Path, tmp_path: Path) -> None:
    data = np.load(path)
    net = _net(_state(data), tmp_path)
    for dtype, tag, tolerance in ((torch.float64, "f64", 1e-9), (torch.float32, "f32", 2e-4)):
        x, codes = _split(net, data["x"].astype(np.float64 if tag == "f64" else np.float32))
        net.to(dtype)
        value, gradient = net.value_and_gradient(x, codes)
        _close(value, data[f"f_{tag}"], tolerance)
        _close(net(x, codes), data[f"f_{tag}"], tolerance)
        _close(gradient, data[f"grad_{tag}"], tolerance)


@pytest.mark.parametrize("path", _files("authors_geo.npz"))
def test_geometric_initialisation_draws_as_the_authors_do(path: Path) -> None:
    state = _state(np.load(path))
    width = len(state["lin0.bias"])
    depth = len(state) // 2 - 1
    for seed in (thousand * 1000 for thousand in range(1, 10)):  # the recorded sets were made with such seeds
        torch.manual_seed(seed)
        ours = MLP(d_in=state["lin0.weight"].shape[1], widths=(width,) * depth).state_dict()
        if torch.equal(ours["lin0.weight"], state["lin0.weight"]):
            break
    for key, tensor in state.items():
        torch.testing.assert_close(ours[key], tensor, rtol=0, atol=0)


def _loss_cases() -> list[Any]:
    return [
        pytest.param(*param.values, mode, id=f"{param.id}-{mode}")
        for param in _files("authors_loss*.npz")
        for mode in json.loads(param.values[0].with_suffix(".json").read_text())
        if mode in ("normals", "nonormals")
    ]


@pytest.mark.parametrize(("path", "mode"), _loss_cases())
def test_terms_gradients_and_four_steps_of_adam_follow_the_authors(path: Path, mode: str, tmp_path: Path) -> None:
    data, steps = np.load(path), json.loads(path.with_suffix(".json").read_text())[mode]
    net = _net(_state(data), tmp_path).double()
    groups: list[dict[str, Any]] = [{"params": list(net.parameters()), "lr": 5e-3}]
    codes = None
    if net.latent:
        codes = torch.from_numpy(data["latent0"]).double()[None].requires_grad_()
        groups.append({"params": [codes], "lr": 1e-3})
    adam = torch.optim.Adam(groups)
    cloud, normals = torch.from_numpy(data["P"]).double(), torch.from_numpy(data["N"]).double()
    for record in steps:
        rows = torch.from_numpy(data[f"idx{record['step']}"])
        off = torch.from_numpy(data[f"nonmnfld{record['step']}"]).double()
        batch = [cloud[rows], normals[rows] if mode == "normals" else None, off]
        if codes is not None:
            batch = [None if part is None else part[None] for part in batch]
        terms = Objective()(net, *batch, codes)
        loss = terms["loss"] + (1e-3 * code_length(codes) if codes is not None else 0)
        adam.zero_grad()
        loss.backward()
        _check_step(record, loss, terms, net)
        if record["step"] == 0:
            _check_gradients(data, mode, net, codes)
        adam.step()


def _check_step(record: dict[str, Any], loss: Tensor, terms: dict[str, Tensor], net: MLP) -> None:
    near = partial(pytest.approx, rel=1e-7)
    assert loss.item() == near(record["total"])
    assert terms["surface"].item() == near(record["manifold"])
    assert terms["eikonal"].item() == near(record["eikonal"])
    if "normal" in terms:
        assert terms["normal"].item() == near(record["normals"])
    for name, parameter in net.named_parameters():
        assert parameter.grad.norm().item() == near(record["grad_norm"][name]), name


def _check_gradients(data: Any, mode: str, net: MLP, codes: Tensor | None) -> None:
    compared = 0
    for key in data.files:
        if key.startswith(f"{mode}/grad_"):
            name = key.removeprefix(f"{mode}/grad_")
            assert name != "latent" or codes is not None
            _close(codes.grad if name == "latent" else net.get_parameter(name).grad, data[key], 1e-7)
            compared += 1
    assert compared


@pytest.mark.parametrize("path", _files("sigma*.npz"))
def test_local_scale_and_its_six_dimensional_quirk(path: Path) -> None:
    data = np.load(path)
    np.testing.assert_allclose(local_sigma(data["P"]), data["sigma_xyz"], rtol=1e-9)
    both = np.hstack([data["P"], data["N"]])
    np.testing.assert_allclose(local_sigma(both), data["sigma_xyz_normals"], rtol=1e-9)


@pytest.mark.parametrize("path", _files("sigma*.npz"))
def test_the_quirk_is_used_on_request_only(path: Path) -> None:
    data = np.load(path)
    scene = OrientedPoints(torch.from_numpy(data["P"]), normals=torch.from_numpy(data["N"]))
    for compat, key in ((None, "sigma_xyz"), ("released", "sigma_xyz_normals")):
        method = IGR(width=8, compat=compat, normalize="none")
        method.attach(scene)
        np.testing.assert_allclose(method.sigma.numpy(), data[key], rtol=1e-4)


@pytest.mark.parametrize("path", _files("sampler*.npz"))
def test_sampler_draws_in_the_authors_order(path: Path) -> None:
    data = np.load(path)
    torch.manual_seed(int(data["torch_seed"]))
    points = torch.from_numpy(data["pts"])
    uniform = len(data["samples"]) - len(points)
    samples = off_surface_points(points, torch.from_numpy(data["sigma"]), uniform, 1.8)
    assert uniform == len(points) // 8
    np.testing.assert_array_equal(samples.numpy(), data["samples"])


@pytest.mark.parametrize(("folder", "name", "table"), _expected("lr_"))
def test_learning_rates_are_exact(folder: Path, name: str, table: dict[str, float]) -> None:
    space = IGRShapeSpace(width=8, latent=4, scenes=1)
    schedule = {
        "lr_recon": IGR(width=8).schedule,
        "lr_shapespace_net": space.schedule,
        "lr_shapespace_lat": space.code_schedule,
        "lr_latent_fit": FIT_SCHEDULE,
    }[name]
    assert {step: schedule(int(step)) for step in table} == pytest.approx(table, rel=1e-15)


@pytest.mark.parametrize(("folder", "name", "entry"), _expected("split_"))
def test_the_held_out_quarter_is_the_nnabla_examples(folder: Path, name: str, entry: dict[str, Any]) -> None:
    train, test = nnabla_split(int(name.removeprefix("split_")), 0.25)
    for rows, side in ((train, "train"), (test, "test")):
        assert len(rows) == entry[f"{side}_size"]
        assert rows[:10].tolist() == entry[f"{side}_first10"]
        assert hashlib.sha1(rows.astype("<i8").tobytes()).hexdigest() == entry[f"{side}_sha1"]


def _nnabla(path: Path, activation: str = "leaky_relu") -> MLP:
    kind, state, architecture = load_weights(path)
    assert kind == "igr_nnabla"
    net = MLP(**architecture, activation=ACTIVATIONS[activation])
    net.load_state_dict(state)
    return net.double()


def _companion(path: Path, what: str) -> Path:
    """``nn_small_param_00100.h5`` belongs to ``nn_small_expected.npz``."""
    return path.with_name(f"{path.stem.split('_param_')[0]}_{what}")


@pytest.mark.parametrize("path", _files("nn_*.h5"))
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_nnabla_weights_give_its_values_and_gradients(path: Path, activation: str) -> None:
    data = np.load(_companion(path, "expected.npz"))
    net = _nnabla(path, activation)
    x = torch.from_numpy(data["x"]).double()
    codes = torch.from_numpy(data["z"]).double() if net.latent else None
    x = x[:, None] if net.latent else x
    value, gradient = net.value_and_gradient(x, codes)
    _close(value, data[f"f_{activation}"], 1e-9)
    _close(net(x, codes), data[f"f_{activation}"], 1e-9)
    _close(gradient, data[f"grad_{activation}"], 1e-9)


@pytest.mark.parametrize("path", [p for p in _files("nn_*.h5") if _companion(p.values[0], "loss_inputs.npz").exists()])
def test_nnabla_losses(path: Path) -> None:
    data = np.load(_companion(path, "loss_inputs.npz"))
    entries = json.loads((path.parent / "expected.json").read_text())
    expected = entries[f"{path.stem.split('_param_')[0]}_losses"]
    net = _nnabla(path)
    x, normals, others = (torch.from_numpy(data[key]).double() for key in ("x", "normals", "xa"))
    value, gradient = net.value_and_gradient(x)
    near = partial(pytest.approx, rel=1e-9)
    assert surface_distance(value, 2, "sum").item() == near(expected["points_sum_sq"])
    assert normal_error(gradient, normals, "l2", "sum").item() == near(expected["normals_sum"])
    assert eikonal(net.value_and_gradient(others)[1]).item() == near(expected["eikonal_mean"])
    for given, key in ((None, "total_lam0p1_tau0"), (normals, "total_lam0p1_tau1")):
        terms = Objective(surface_power=2, reduction="sum")(net, x, given, others)
        assert terms["loss"].item() == near(expected[key])


def _statistics(vertices: np.ndarray, faces: np.ndarray) -> dict[str, Any]:
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    return {
        "vertices": len(vertices),
        "faces": len(faces),
        "area": mesh.area,
        "volume_signed": mesh.volume,
        "watertight": mesh.is_watertight,
        "euler": mesh.euler_number,
        "vmin": vertices.min(0).tolist(),
        "vmax": vertices.max(0).tolist(),
        "centroid_vertices": vertices.mean(0).tolist(),
    }


def _agree(ours: dict[str, Any], theirs: dict[str, Any], size: float, near: float = 1e-4) -> None:
    """Counts to 0.1 % (the order of sums can move a sign), area and volume to `near`, places to 1e-3 of the size."""
    assert ours["vertices"] == pytest.approx(theirs["vertices"], rel=1e-3)
    assert ours["faces"] == pytest.approx(theirs["faces"], rel=1e-3)
    assert ours["area"] == pytest.approx(theirs["area"], rel=near)
    assert ours["volume_signed"] == pytest.approx(theirs["volume_signed"], rel=near)
    assert ours["watertight"] == theirs["watertight"]
    assert ours["euler"] == theirs["euler"]
    for key in ("vmin", "vmax", "centroid_vertices"):
        np.testing.assert_allclose(ours[key], theirs[key], atol=1e-3 * size)


@pytest.mark.parametrize("path", _files("mc_authors_*.npz"))
def test_meshes_of_the_authors_networks(path: Path, tmp_path: Path) -> None:
    expected = json.loads((path.parent / "expected.json").read_text())[path.stem]
    net = _net(_state(np.load(path)), tmp_path)
    torch.save({"model_state_dict": net.state_dict()}, tmp_path / "authors.pth")
    method = IGR.from_weights(tmp_path / "authors.pth", bound=expected["bound"])
    surface = method.reconstruct(Points(torch.rand(100, 3)))
    mesh = surface.mesh(resolution=expected["resolution"] - 1, extraction="dense", normals=False).mesh
    _agree(_statistics(mesh.vertices, mesh.faces), expected, size=2 * expected["bound"])


def _recorded_field(folder: Path) -> Any:
    entry = json.loads((folder / "expected.json").read_text())["mc_nnabla_field"]
    axes, centre = torch.tensor(entry["ellipsoid_axes"]), torch.tensor(entry["ball_center"])

    def field(x: Tensor) -> Tensor:
        return torch.minimum((x / axes).norm(dim=1) - 1, (x - centre).norm(dim=1) - entry["ball_radius"])

    return field


@pytest.mark.parametrize(("folder", "name", "entry"), _expected("mc_nnabla_ascent"))
def test_nnabla_meshes_in_world_and_in_grid_units(folder: Path, name: str, entry: dict[str, Any]) -> None:
    grid, bound = entry["grid"], entry["volume_factor"]
    low, high = (-bound,) * 3, (bound,) * 3
    for frame, key in ((None, "world_frame"), (grid_frame(grid, bound), "index_frame")):
        surface = Surface(_recorded_field(folder), low, high, **({"frame": frame} if frame else {}))
        mesh = surface.mesh(resolution=grid - 1, extraction="dense", normals=False).mesh
        # The same vertices; some faces are cut along the other diagonal, as the recorded volume has y before x.
        _agree(_statistics(mesh.vertices, mesh.faces), entry[key], size=grid if frame else 2 * bound, near=3e-4)


@pytest.mark.parametrize(("folder", "name", "entry"), _expected("mc_nnabla_ascent"))
def test_the_grid_frame_names_the_recorded_corners(folder: Path, name: str, entry: dict[str, Any]) -> None:
    """The example's volume has y first: its entries [0, 1, 2], [1, 0, 2] and [2, 1, 0] pin the order of the axes."""
    grid, bound = entry["grid"], entry["volume_factor"]
    index = np.array([[0, 1, 2], [1, 0, 2], [2, 1, 0]]) * [1, -1, 1]  # (i_y, -i_x, i_z)
    local = torch.from_numpy(grid_frame(grid, bound).to_local(index)).float()
    values = _recorded_field(folder)(local).tolist()
    assert values == pytest.approx(entry["vol_corner_012"], rel=1e-6)
