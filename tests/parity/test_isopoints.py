"""Iso-Points and IDR against numbers recorded from the originals.

Files are found by listing, and sizes and keys are read from them, so another set of the same layout serves as well.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from recon.geometry.cameras import compose, decompose, depth_of, frame_of, into_frame, rays
from recon.geometry.conventions import quaternion_of, rotation_of
from recon.geometry.iso_filters import denoise_normals, is_flat, pca_frames
from recon.geometry.isopoints import extract
from recon.geometry.near import Trees, spacing
from recon.geometry.newton import newton
from recon.geometry.point_weights import bilateral_weights, heat_weights, laplacian_weights
from recon.geometry.resampling import resample
from recon.geometry.saliency import insert
from recon.geometry.upsampling import upsample
from recon.geometry.wlop import wlop
from recon.losses.rendering import IDRObjective
from recon.nets.frozen import Frozen
from recon.nets.idr_weights import SINE, siren_options
from recon.nets.siren import Siren
from recon.rendering.intersection import along_normal, along_ray
from recon.rendering.rays import box_interval, sphere_interval
from recon.rendering.rays import rays as torch_rays
from recon.rendering.short_steps import step_along
from recon.rendering.sphere_tracing import SphereTracer
from tests.parity.isopoints_files import (
    Counted,
    arrays,
    config,
    implicit,
    rays_of,
    rendering,
    seeded,
    tracer_of,
)

ROOT = Path(os.environ.get("RECON_PARITY_DIR") or Path(__file__).parents[3] / "shared" / "parity") / "isopoints"
RAYS = 1e-5


def _files(pattern: str, *keys: str) -> list[Any]:
    """Files of that name that have these keys."""
    found = []
    for path in sorted(ROOT.rglob(pattern)):
        with np.load(path) as data:
            if set(keys) <= set(data.files):
                found.append(pytest.param(path, id=f"{path.parent.name}/{path.stem}"))
    return found


# --- cameras ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", _files("camera*.npz", "P", "intrinsics", "pose"))
def test_projection_to_k_and_pose(path):
    data = np.load(path)
    k, pose = decompose(data["P"])
    np.testing.assert_allclose(k, data["intrinsics"][:, :3, :3], rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(pose, data["pose"], atol=2e-6)
    again = compose(k, pose)
    scale = again[:, 2:3, :3] @ data["P"][:, 2, :3, None] / np.sum(data["P"][:, 2:3, :3] ** 2, axis=2)[..., None]
    np.testing.assert_allclose(again, data["P"] * scale, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("path", _files("camera*.npz", "world_mat", "scale_mat", "intrinsics", "pose"))
def test_world_and_scale_matrices_to_local_cameras(path):
    data = np.load(path)
    k, pose = decompose(data["world_mat"])
    local = into_frame(pose, frame_of(data["scale_mat"]))
    np.testing.assert_allclose(k, data["intrinsics"][:, :3, :3], rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(local, data["pose"], atol=5e-6)


@pytest.mark.parametrize("path", _files("camera*.npz", "uv", "ray_dirs", "cam_loc", "P"))
def test_rays(path):
    data = np.load(path)
    k, pose = decompose(data["P"])
    origins, directions = rays(data["uv"], k, pose)
    np.testing.assert_allclose(directions, data["ray_dirs"], atol=RAYS)
    np.testing.assert_allclose(origins, np.broadcast_to(data["cam_loc"][:, None], origins.shape), atol=RAYS)
    o, d = torch_rays(*(torch.from_numpy(np.float32(x)) for x in (data["uv"], k, pose)))
    np.testing.assert_allclose(d.numpy(), data["ray_dirs"], atol=RAYS)
    np.testing.assert_allclose(o.numpy(), origins, atol=RAYS)


@pytest.mark.parametrize("path", _files("camera*.npz", "quat", "R_from_quat", "ray_dirs_from_quat"))
def test_quaternions(path):
    data = np.load(path)
    rotation = rotation_of(data["quat"])
    np.testing.assert_allclose(rotation, data["R_from_quat"], atol=1e-6)
    unit = data["quat"] / np.linalg.norm(data["quat"], axis=1, keepdims=True)
    np.testing.assert_allclose(quaternion_of(data["R_from_quat"]), unit * np.sign(unit[:, :1]), atol=1e-6)
    k, pose = decompose(data["P"])
    pose[:, :3, :3], pose[:, :3, 3] = rotation, data["cam_loc_from_quat"]
    np.testing.assert_allclose(rays(data["uv"], k, pose)[1], data["ray_dirs_from_quat"], atol=RAYS)


@pytest.mark.parametrize("path", _files("camera*.npz", "sphere_intersections", "sphere_mask"))
def test_sphere_of_interest(path):
    data = np.load(path)
    directions = torch.from_numpy(data["ray_dirs"])
    origins = torch.from_numpy(data["cam_loc"])[:, None].expand_as(directions)
    near, far, hit = sphere_interval(origins, directions)
    # Grazing rays: what the square root is drawn of is known to the rounding of a few |o|^2 only.
    expected = data["sphere_intersections"]
    chord = expected[..., 1] - expected[..., 0]
    sure = chord > 0.05
    assert (hit.numpy() == data["sphere_mask"])[sure | (chord == 0)].mean() > 0.998
    np.testing.assert_allclose(near.numpy()[sure], expected[sure][:, 0], atol=1e-4)
    np.testing.assert_allclose(far.numpy()[sure], expected[sure][:, 1], atol=1e-4)
    assert (near.numpy()[~data["sphere_mask"] & ~hit.numpy()] == 0).all()


@pytest.mark.parametrize("path", _files("camera*.npz", "depth_points", "depth", "pose"))
def test_depth_of_points(path):
    data = np.load(path)
    np.testing.assert_allclose(depth_of(data["depth_points"], data["pose"]), data["depth"][..., 0], atol=RAYS)


# --- iso-points -------------------------------------------------------------------------------------------------------

SHAPES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sphere": lambda p: p.norm(dim=1) - 0.6,
    "torus": lambda p: ((p[:, :2].norm(dim=1) - 0.5).square() + p[:, 2].square()).sqrt() - 0.22,
    "torus_x2": lambda p: 2 * SHAPES["torus"](p),
    "ellipsoid": lambda p: 0.35 * ((p / p.new_tensor([0.7, 0.5, 0.35])).norm(dim=1) - 1),
    "rbox": lambda p: _rounded_box(p.abs() - p.new_tensor([0.45, 0.35, 0.25])),
}


def _rounded_box(beyond):
    return beyond.clamp(min=0).norm(dim=1) + beyond.amax(dim=1).clamp(max=0) - 0.05


def _shapes(pattern: str, *keys: str) -> list[Any]:
    """Files and those of the shapes above that they have, with `keys` each."""
    found = []
    for path in sorted(ROOT.rglob(pattern)):
        with np.load(path) as data:
            names = sorted({key.split("/")[0] for key in data.files} & set(SHAPES))
            found += [(path, name) for name in names if {f"{name}/{key}" for key in keys} <= set(data.files)]
    return [pytest.param(path, name, id=f"{path.parent.name}/{path.stem}/{name}") for path, name in found]


def _part(path: Path, prefix: str = "") -> dict[str, torch.Tensor]:
    """Arrays below `prefix`, whose cloud axis of length one is dropped."""
    with np.load(path) as data:
        found = {key.removeprefix(prefix): data[key] for key in data.files if key.startswith(prefix)}
    return {
        k: torch.from_numpy(a[0] if a.ndim > 1 and len(a) == 1 else a) for k, a in found.items() if a.dtype.kind != "U"
    }


def _off(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """(N,) distances between points of one order."""
    assert ours.shape == theirs.shape
    return (ours - theirs).norm(dim=1)


def _apart(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """(N,) distances of `theirs` to the nearest of `ours`: equal ranks may stand in any order."""
    assert ours.shape == theirs.shape
    return torch.from_numpy(cKDTree(ours.numpy()).query(theirs.numpy())[0])


@pytest.mark.parametrize(("path", "shape"), _shapes("newton_analytic*.npz", "start"))
def test_newton_on_shapes(path, shape):
    data = _part(path, f"{shape}/")
    counts = sorted({int(key.split("/")[0].removeprefix("it")) for key in data if key.startswith("it")})
    assert counts
    for count in counts:
        result = newton(SHAPES[shape], data["start"], count)
        both = result.converged & data[f"it{count}/mask"].bool()
        assert (result.converged == data[f"it{count}/mask"]).float().mean() > 0.998
        assert _off(result.points, data[f"it{count}/points"])[both].max() < 1e-5
        assert _off(result.gradients, data[f"it{count}/normals"])[both].max() < 1e-4


@pytest.mark.parametrize(("path", "shape"), _shapes("resample_deterministic*.npz", "in_points", "resample1"))
def test_resampling(path, shape):
    data = _part(path, f"{shape}/")
    for key in [key for key in data if re.fullmatch(r"resample\d+", key)]:
        iterations = int(key.removeprefix("resample"))
        result = resample(SHAPES[shape], data["in_points"], data["in_normals"], iterations, compat="released")
        assert (result.converged == data[f"{key}_mask"]).float().mean() > 0.998
        assert (_off(result.points, data[key]) < (1e-4 if iterations == 1 else 1e-3)).float().mean() >= 0.99


@pytest.mark.parametrize(("path", "shape"), _shapes("resample_deterministic*.npz", "in_points"))
def test_upsampling(path, shape):
    data = _part(path, f"{shape}/")
    for key in [key for key in data if key.startswith("upsample")]:
        k = int(re.match(r"upsample(\d+)", key)[1])
        points, counts = upsample(data["in_points"], len(data[key]), k)
        assert counts == [len(data[key])]
        assert (_apart(points, data[key]) < 1e-4).float().mean() >= 0.99


@pytest.mark.parametrize(("path", "shape"), _shapes("resample_deterministic*.npz", "in_points", "wlop_out"))
def test_consolidation(path, shape):
    data = _part(path, f"{shape}/")
    points = data["in_points"]
    width = 4 * ((points.amax(0) - points.amin(0)).norm() / len(points)).sqrt()
    start = data["wlop_fps"] + 0.1 * width * data["wlop_noise"]
    assert (_off(wlop(points, start=start)[0], data["wlop_out"]) < 1e-4).float().mean() >= 0.99


@pytest.mark.parametrize(("path", "shape"), _shapes("resample_deterministic*.npz", "in_points", "insert_children"))
def test_insertion(path, shape):
    data = _part(path, f"{shape}/")
    metric = data["insert_metric"].flatten()
    children, counts = insert(data["in_points"], data["in_points"][: len(metric)], metric, compat="released")
    assert counts == [int(data["insert_count"])] == [len(children)]
    assert (_off(children, data["insert_children"]) < 1e-4).float().mean() >= 0.99


def _recorded_clouds() -> list[tuple[Path, str]]:
    """Clouds that the original extracted, named by shape and count."""
    found = []
    for path in sorted(ROOT.rglob("resample_points*.npz")):
        with np.load(path) as data:
            found += [(path, key) for key in data.files if set(key.split("_")) & set(SHAPES)]
    return found


def _statistics(points: torch.Tensor, surface: torch.Tensor) -> dict[str, float]:
    nearest = spacing(points)
    hole = Trees(points).query(surface, 1).square.sqrt()
    return {"cv": float(nearest.std() / nearest.mean()), "mean": float(nearest.mean()), "hole": float(hole.max())}


def _extractions() -> list[Any]:
    """(statistics, shape, count) of the recorded full extractions."""
    found = []
    for path in sorted(ROOT.rglob("resample_stats*.json")):
        for name, recorded in json.loads(path.read_text()).items():
            recipe, shape, count = name.split("/")
            if recipe.startswith("sample_uniform") and shape in SHAPES:
                found.append(pytest.param(recorded, shape, int(count), id=f"{path.parent.name}/{shape}/{count}"))
    return found


@pytest.mark.parametrize(("recorded", "shape", "count"), _extractions())
def test_extraction_is_as_even_as_the_original(recorded, shape, count):
    field, generator = SHAPES[shape], torch.Generator().manual_seed(0)
    dense = newton(field, torch.rand(20000, 3, generator=generator) * 2 - 1)
    surface = dense.points[dense.converged]
    sound = extract(field, count, generator=generator)
    draws = [extract(field, count, generator=generator, compat="released").points for _ in range(4)]
    ours, theirs = _statistics(sound.points, surface), [_statistics(points, surface) for points in draws]
    assert sound.counts == (recorded["n"],)
    assert field(sound.points).abs().max() <= 5e-5
    assert ours["cv"] <= 0.25
    assert ours["cv"] <= recorded["nn_cv"]
    assert ours["hole"] <= recorded["coverage_max"]
    assert ours["mean"] >= recorded["nn_mean"]
    # Four draws of the original's recipe against its one.
    for key, name in (("cv", "nn_cv"), ("mean", "nn_mean"), ("hole", "coverage_max")):
        assert np.mean([one[key] for one in theirs]) == pytest.approx(
            recorded[name], rel=0.15 if key != "hole" else 0.3
        )


@pytest.mark.parametrize(
    ("path", "name"), [pytest.param(*p, id=f"{p[0].parent.name}/{p[1]}") for p in _recorded_clouds()]
)
def test_extraction_is_as_even_as_recorded_points(path, name):
    theirs = torch.from_numpy(np.load(path)[name])
    field, generator = SHAPES[name.split("_")[-2]], torch.Generator().manual_seed(0)
    assert field(theirs).abs().max() <= 5e-5
    ours = extract(field, len(theirs), generator=generator).points
    dense = newton(field, torch.rand(20000, 3, generator=generator) * 2 - 1)
    surface = dense.points[dense.converged]
    ours_are, theirs_are = _statistics(ours, surface), _statistics(theirs, surface)
    assert ours_are["cv"] <= theirs_are["cv"]
    assert ours_are["hole"] <= theirs_are["hole"]


@pytest.mark.parametrize(("path", "shape"), _shapes("resample_deterministic*.npz", "in_points"))
def test_principal_axes(path, shape):
    data = _part(path, f"{shape}/")
    for key in [key for key in data if key.startswith("pca_")]:
        k = int(re.search(r"(\d+)", key)[1])
        variance, axes = pca_frames(data["in_points"], k)
        if key.startswith("pca_var"):
            assert (variance - data[key]).abs().max() < 1e-6
        else:
            assert (axes[:, :, 0] * data[key]).sum(dim=1).abs().min() > 1 - 1e-4


@pytest.mark.parametrize("path", _files("pointcloud_weights*.npz", "points", "normals", "iso_points", "iso_grads"))
def test_weights_of_clouds(path):
    data = _part(path)
    known = data["points"], data["normals"], data["iso_points"], data["iso_grads"]
    assert (bilateral_weights(*known) - data["w_bilateral"]).abs().max() < 1e-5
    assert (laplacian_weights(*known) - data["w_laplacian"]).abs().max() < 1e-5
    # The original inverts nearly singular matrices in float32.
    error = (heat_weights(*known, compat="released") - data["w_heat"]).abs()
    assert error.median() < 1e-5
    assert (error < 1e-2).float().mean() > 0.98


@pytest.mark.parametrize("path", _files("pointcloud_weights*.npz", "points", "normals", "outlier_kept"))
def test_filters_of_clouds(path):
    data = _part(path)
    for key in [key for key in data if key.startswith("denoised_normals_k")]:
        k = int(key.removeprefix("denoised_normals_k"))
        smooth = denoise_normals(data["points"], data["normals"], k=k, compat="released")
        assert (_off(smooth, data[key]) < 1e-4).float().mean() >= 0.99
    kept = data["points"][is_flat(data["points"])]
    assert abs(len(kept) - len(data["outlier_kept"])) <= 0.01 * len(data["points"])
    assert np.mean(cKDTree(kept.numpy()).query(data["outlier_kept"].numpy())[0] == 0) > 0.99


def _tanh_net(state: dict[str, torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Iso-Points' SDF of its weights alone: plain operations, so that the projection is all that is tested."""
    depth = sum(key.endswith(".bias") for key in state)
    frequencies = (state["lin0.weight_v"].shape[1] // 3 - 1) // 2

    def field(x):
        waves = [wave(2.0**n * x) for n in range(frequencies) for wave in (torch.sin, torch.cos)]
        h = embedded = torch.cat([x, *waves], dim=1)
        for number in range(depth):
            v, g, bias = (state[f"lin{number}.{name}"] for name in ("weight_v", "weight_g", "bias"))
            if h.shape[1] != v.shape[1]:
                h = torch.cat([h, embedded], dim=1) / 2**0.5
            h = h @ (g * v / v.norm(dim=1, keepdim=True)).t() + bias
            h = torch.tanh(h) if number == depth - 1 else torch.nn.functional.softplus(h, 100.0)
        return h[:, 0]

    return field


@pytest.mark.parametrize("path", _files("newton_neural*.npz", "start", "points", "sd/lin0.weight_v"))
def test_newton_on_a_network(path):
    data = _part(path)
    result = newton(_tanh_net(_part(path, "sd/")), data["start"])
    both = result.converged & data["mask"].bool()
    assert (result.converged == data["mask"]).float().mean() >= 0.998
    assert _off(result.points, data["points"])[both].max() < 1e-5
    error = _off(result.gradients, data["normals"])[both]
    assert (error / data["normals"][both].norm(dim=1)).max() < 1e-4


# --- networks ---------------------------------------------------------------------------------------------------------

VALUES, GRADIENTS = 1e-5, 1e-4


def _close(ours: torch.Tensor, theirs: torch.Tensor, relative: float = 0.0, absolute: float = VALUES) -> None:
    """Equal, relative to the largest of `theirs`: single entries may be differences of large ones."""
    assert ours.shape == theirs.shape
    assert (ours.detach() - theirs).abs().max() <= absolute + relative * theirs.abs().max()


@pytest.mark.parametrize("path", _files("idr_implicit*.npz", "x", "out", "grad", "sd/lin0.weight_v"))
def test_implicit_network(path):
    data, net = arrays(path), implicit(path)
    outputs, gradient = net.outputs_and_gradient(data["x"])
    _close(outputs, data["out"])
    _close(net.outputs(data["x"]), data["out"])
    _close(Frozen(net)(data["x"]), data["out"][:, 0])
    _close(gradient, data["grad"], GRADIENTS, 0)


@pytest.mark.parametrize("path", _files("idr_implicit*.npz", "x", "config", "seed"))
def test_initialisation_draws_as_the_original(path):
    data, net = arrays(path), seeded(path)
    outputs, gradient = net.outputs_and_gradient(data["x"])
    expected = torch.cat([data["sdf"][:, None], data["feat8"]], dim=1) if "sdf" in data else data["out"]
    _close(outputs[:, : expected.shape[1]], expected)
    _close(gradient, data["grad"], GRADIENTS, 0)
    for key, value in arrays(path, "sd/").items():
        assert torch.equal(net.state_dict()[key], value), key


@pytest.mark.parametrize("mode", ["idr", "no_view_dir", "no_normal"])
@pytest.mark.parametrize("path", _files("idr_rendering*.npz", "points", "features", "idr/rgb"))
def test_rendering_network(path, mode):
    data = arrays(path)
    net = rendering(path, data["features"].shape[1], f"{mode}/sd/")
    assert net.mode == mode
    _close(net(*(data[key] for key in ("points", "normals", "view_dirs", "features"))), data[f"{mode}/rgb"])


@pytest.mark.parametrize("path", _files("iso_rendering*.npz", "points", "latent", "rgb"))
def test_rendering_network_of_isopoints(path):
    data = arrays(path)
    net = rendering(path, data["latent"].shape[1], layout="isopoints")
    _close(net(*(data[key] for key in ("points", "normals", "view_dirs", "latent"))), data["rgb"])


@pytest.mark.parametrize("path", _files("iso_sdfnet*.npz", "x", "sdf", "latent", "sd/lin0.weight_v"))
def test_implicit_network_of_isopoints(path):
    data = arrays(path)
    net = implicit(path, squash=True)
    outputs, gradient = net.outputs_and_gradient(data["x"])
    _close(outputs, torch.cat([data["sdf"], data["latent"]], dim=1))
    _close(Frozen(net)(data["x"]), data["sdf"][:, 0])
    _close(gradient, data["grad"], GRADIENTS, 0)


@pytest.mark.parametrize("path", _files("siren*.npz", "x", "sdf", "grad", "sd/net.0.linear.weight"))
def test_siren(path):
    data, state = arrays(path), {SINE.sub(r"lin\1.\2", key): v for key, v in arrays(path, "sd/").items()}
    options = siren_options(path, state)
    torch.manual_seed(int(data["seed"]))
    net = Siren(**options, omega=config(path)["first_omega_0"])
    for key, value in state.items():
        assert torch.equal(net.state_dict()[key], value), key
    value, gradient = net.value_and_gradient(data["x"])
    _close(value, data["sdf"][:, 0])
    _close(gradient, data["grad"], GRADIENTS, 0)


# --- tracing ----------------------------------------------------------------------------------------------------------

DISTANCE, MASKS = 1e-4, 0.998


def _traced_alike(found, mask, distance, where):
    """Masks and, on common hits within `where`, distances."""
    assert (found.hit == mask).float().mean() >= MASKS
    common = found.hit & mask & where
    assert (found.distance - distance)[common].abs().max() <= DISTANCE


@pytest.mark.parametrize("compat", [None, "released"])
@pytest.mark.parametrize("path", _files("raytrace*.npz", "eval_mask", "eval_dists", "train_mask"))
def test_rays_are_traced_as_in_idr(path, compat):
    data, sdf = arrays(path), Frozen(implicit(path))
    origins, directions = rays_of(data)
    found = tracer_of(path, compat)(sdf, origins, directions)
    _traced_alike(found, data["eval_mask"], data["eval_dists"], torch.ones_like(found.hit))
    if compat == "released":
        points = origins + found.distance[:, None] * directions
        assert (_off(points, data["eval_points"]) <= DISTANCE).float().mean() >= MASKS


@pytest.mark.parametrize("path", _files("raytrace*.npz", "train_min_steps_u01", "train_dists", "train_points"))
def test_recorded_draws_give_the_recorded_least_values(path):
    data, sdf = arrays(path), Frozen(implicit(path))
    origins, directions = rays_of(data)
    inside, draws = data["object_mask"], data["train_min_steps_u01"]
    found = tracer_of(path, "released")(sdf, origins, directions, inside, draws=draws)
    _traced_alike(found, data["train_mask"], data["train_dists"], inside)
    ours, theirs = (sdf(p) for p in (origins + found.distance[:, None] * directions, data["train_points"]))
    assert ((ours - theirs).abs() <= DISTANCE).float().mean() >= MASKS
    # Two samples may be least to within rounding: the place is less certain than the value.
    assert ((found.distance - data["train_dists"]).abs() <= DISTANCE).float().mean() >= 0.99


@pytest.mark.parametrize("path", _files("raytrace*.npz", "object_mask", "train_mask", "train_points"))
def test_least_values_cost_a_third_and_are_no_worse(path):
    data, sdf = arrays(path), Counted(Frozen(implicit(path)))
    origins, directions = rays_of(data)
    inside = data["object_mask"]
    found = tracer_of(path, None)(sdf, origins, directions, inside)
    ours = sdf.points
    released = Counted(sdf.field)
    tracer_of(path, "released")(released, origins, directions, inside, draws=data["train_min_steps_u01"])
    assert ours <= released.points / 3
    _traced_alike(found, data["train_mask"], data["train_dists"], inside)
    least = ~(data["train_mask"] & inside)
    points = (origins + found.distance[:, None] * directions)[least]
    assert (sdf(points) - sdf(data["train_points"][least])).mean() <= 1e-3


@pytest.mark.parametrize(("path", "shape"), _shapes("iso_tracing*.npz", "cube0", "cube_mask"))
def test_rays_meet_the_cube(path, shape):
    data = arrays(path)
    origins, directions = rays_of(data)
    mask = data[f"{shape}/cube_mask"].flatten()
    entries = [data[f"{shape}/cube{end}"].reshape(-1, 3) for end in (0, 1)]
    half = float(entries[0][mask].abs().amax(dim=1).median())
    near, far, hit = box_interval(origins, directions, half)
    assert torch.equal(hit, mask)
    for distance, entry in zip((near, far), entries, strict=True):
        assert _off(origins + distance[:, None] * directions, entry)[mask].max() <= RAYS


@pytest.mark.parametrize("path", _files("iso_tracing*.npz", "sphere0", "sphere_mask"))
def test_rays_meet_the_sphere_of_isopoints(path):
    data = arrays(path)
    origins, directions = rays_of(data)
    near, far, hit = sphere_interval(origins, directions, compat="released")
    mask = data["sphere_mask"].flatten()
    assert torch.equal(hit, mask)
    for distance, key in ((near, "sphere0"), (far, "sphere1")):
        assert _off(origins + distance[:, None] * directions, data[key].reshape(-1, 3))[mask].max() <= RAYS


@pytest.mark.parametrize(("path", "shape"), _shapes("iso_tracing*.npz", "rt_mask", "rt_dists"))
@pytest.mark.parametrize("compat", [None, "released"])
def test_rays_are_traced_as_in_isopoints(path, shape, compat):
    data = arrays(path)
    origins, directions = rays_of(data)
    interval = sphere_interval(origins, directions, compat=compat)
    found = SphereTracer(compat=compat)(SHAPES[shape], origins, directions, interval=interval)
    mask = data[f"{shape}/rt_mask"].flatten()
    _traced_alike(found, mask, data[f"{shape}/rt_dists"].flatten(), torch.ones_like(mask))


@pytest.mark.parametrize(("path", "shape"), _shapes("iso_tracing*.npz", "st_points", "st_mask", "cube0"))
def test_short_steps_of_isopoints(path, shape):
    data = arrays(path)
    _, directions = rays_of(data)
    found = step_along(SHAPES[shape], data[f"{shape}/cube0"].reshape(-1, 3), directions)
    assert (found.converged == data[f"{shape}/st_mask"].flatten()).float().mean() >= MASKS
    assert (_off(found.points, data[f"{shape}/st_points"].reshape(-1, 3)) <= DISTANCE).float().mean() >= MASKS
    _close(found.value, data[f"{shape}/st_sdf"].flatten(), absolute=DISTANCE)


@pytest.mark.parametrize(("path", "shape"), _shapes("iso_tracing*.npz", "zc_points", "zc_mask", "cube0", "cube1"))
@pytest.mark.parametrize("compat", [None, "released"])
def test_first_surfaces_between_samples(path, shape, compat):
    data = arrays(path)
    origins, directions = rays_of(data)
    near, far = ((_part_of(data, shape, end) - origins).mul(directions).sum(dim=1) for end in ("cube0", "cube1"))
    found = SphereTracer(compat=compat).first_surface(SHAPES[shape], origins, directions, near, far)
    mask = data[f"{shape}/zc_mask"].flatten()
    assert (found.hit == mask).float().mean() >= MASKS
    both = found.hit & mask
    points = origins + found.distance[:, None] * directions
    assert _off(points, _part_of(data, shape, "zc_points"))[both].max() <= DISTANCE


def _part_of(data, shape, key):
    return data[f"{shape}/{key}"].reshape(-1, 3)


# --- differentiable intersection and losses ---------------------------------------------------------------------------


def _gradients_alike(net, loss, expected):
    loss.backward()
    for name, parameter in net.named_parameters():
        _close(parameter.grad, expected[name], GRADIENTS, 1e-6)


@pytest.mark.parametrize("path", _files("idr_sample*.npz", "surface_points", "out_points", "w", "sd/lin0.weight_v"))
def test_intersection_moves_along_the_ray(path):
    data, net = arrays(path), implicit(path)
    value, gradient = net.value_and_gradient(data["surface_points"])
    _close(gradient, data["surface_grad"], GRADIENTS, 0)
    points = along_ray(data["cam_loc"], data["ray_dirs"], data["surface_dists"], value, data["surface_grad"])
    _close(points, data["out_points"])
    _gradients_alike(net, (points * data["w"]).sum(), arrays(path, "grad/"))


@pytest.mark.parametrize("path", _files("newton_neural*.npz", "sample_in", "sample_out", "dir_out", "dir_cam"))
def test_samples_of_isopoints_move_with_the_surface(path):
    data, net = arrays(path), implicit(path, squash=True)
    value, gradient = net.value_and_gradient(data["sample_in"])
    points = along_normal(data["sample_in"], value, gradient)
    _close(points, data["sample_out"])
    _gradients_alike(net, (points * data["w"]).sum(), arrays(path, "sample_grad/"))
    net.zero_grad()
    value, gradient = net.value_and_gradient(data["sample_in"])
    distance = ((data["sample_in"] - data["dir_cam"]) * data["dir_ray"]).sum(dim=1)
    points = along_ray(data["dir_cam"], data["dir_ray"], distance, value, gradient)
    _close(points, data["dir_out"])
    _gradients_alike(net, (points * data["w"]).sum(), arrays(path, "dirsample_grad/"))


@pytest.mark.parametrize("path", _files("idr_sample*.npz", "rgb_values", "sdf_output", "network_object_mask"))
def test_losses_of_idr(path):
    data = arrays(path)
    inside, hit = data["object_mask"], data["network_object_mask"]
    both, truth = inside & hit, data["rgb_gt"].reshape(-1, 3)
    names = {"loss": "loss", "rgb_loss": "rgb", "eikonal_loss": "eikonal", "mask_loss": "mask"}
    alphas = sorted({int(m[1]) for key in data if (m := re.match(r"alpha(\d+)/", key))})
    assert alphas
    for alpha in alphas:
        terms = IDRObjective()(
            data["rgb_values"][both],
            truth[both],
            data["sdf_output"][~both, 0],
            inside[~both],
            data["grad_theta"],
            sharpness=alpha,
            count=len(inside),
        )
        for theirs, ours in names.items():
            assert terms[ours].item() == pytest.approx(data[f"alpha{alpha}/{theirs}"].item(), rel=1e-5), theirs
