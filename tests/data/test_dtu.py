"""data=dtu: the layouts of IDR, DVR and Iso-Points, stereo clouds, the official truth, and DTU's own scan 65."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from shutil import rmtree

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from recon.data import dtu
from recon.data.dtu import DTU
from recon.data.dtu_truth import read_observed, read_plane
from recon.data.loading import Draw
from recon.data.synthesis import dtu as factory
from recon.errors import ConfigError, DataError
from recon.geometry.cameras import invert, pixel_centres, project, rays, recentred
from recon.geometry.conventions import unit_to_pixels
from recon.geometry.raycast import RayCaster
from recon.geometry.visual_hull import inside_of, visual_hull
from recon.io.clouds import write_cloud
from recon.io.images import write_png
from recon.io.meshes import read_mesh
from recon.io.types import Cloud
from recon.observations import ObservedTruth, OrientedPoints, Points, PosedViews, Truth, Views


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One object as the factory photographs it, in both layouts."""
    folder = tmp_path_factory.mktemp("dtu")
    mesh = trimesh.creation.box((2, 1, 0.6))
    mesh.apply_translation((5, 1, -2))
    (folder / "meshes").mkdir()
    mesh.export(folder / "meshes" / "scan7.obj")
    source = str(folder / "meshes" / "*.obj")
    factory.DTU(source=source, path=str(folder / "idr"), kind="idr", views=8, size=[48, 64]).run()
    factory.DTU(source=source, path=str(folder / "mvr"), kind="mvr", views=8, size=[48, 48]).run()
    return folder


def iou(views: PosedViews, mesh) -> np.ndarray:
    """Of a mesh's silhouettes with the masks."""
    masks, caster = inside_of(views.mask[:, 0].numpy()), RayCaster(mesh)
    found = []
    for mask, k, pose in zip(masks, views.intrinsics.numpy(), views.poses.numpy(), strict=True):
        hit = caster.first_hit(*rays(pixel_centres(*mask.shape).reshape(-1, 2), k, pose)).hit.reshape(mask.shape)
        found.append((hit & mask).sum() / (hit | mask).sum())
    return np.array(found)


@pytest.mark.parametrize("kind", ["idr", "mvr"])
def test_scans_of_the_factory(made, kind):
    data = DTU(path=str(made / kind))
    assert data.names() == ["scan7"]
    assert data.gives == (PosedViews, Views)
    scene = data.load("scan7")
    views = scene.observation
    assert type(views) is PosedViews
    assert views.images.dtype == torch.uint8
    assert views.images.shape[:2] == (8, 3)
    assert views.view_names[3] == "000003"
    assert isinstance(scene.target, Truth)
    # Small pictures: a row of pixels along a silhouette is some percent. Half a pixel's shift shows all the same.
    shifts = [
        iou(
            replace(views, intrinsics=torch.from_numpy(recentred(views.intrinsics.numpy(), shift))),
            scene.target.surface,
        ).mean()
        for shift in (-0.5, 0, 0.5)
    ]
    assert shifts[1] > 0.96
    assert shifts[1] > max(shifts[0], shifts[2]) + 0.005
    away = np.linalg.norm(views.region.to_local(scene.target.surface.vertices), axis=1)
    assert 0.85 < away.max() <= 1 + 1e-6


def test_items_are_local(made):
    data = DTU(path=str(made / "idr"))
    item = data.item("scan7", "train", Draw(0, 0, 0))
    views = item.observation
    assert views.poses.dtype == torch.float32
    np.testing.assert_allclose(np.linalg.norm(views.poses[:, :3, 3], axis=1), 3, atol=1e-5)
    whole = data.load("scan7").observation
    np.testing.assert_allclose(views.frame.to_world(views.poses[:, :3, 3]), whole.poses[:, :3, 3], atol=1e-5)


@pytest.mark.parametrize("fov", ["1" + "0" * 400, "NaN", "0", '"wide"'])
def test_cameras_that_see_nothing_are_told(made, tmp_path, fov):
    scan = tmp_path / "scan7"
    scan.mkdir()
    (scan / "image").symlink_to(made / "mvr" / "scan7" / "image")
    with np.load(made / "mvr" / "scan7" / "data_dict.npz") as plain:
        np.savez(scan / "data_dict.npz", **{**plain, "cameras_params": np.array(f'{{"fov": {fov}}}')})
    with pytest.raises(DataError, match=r"data_dict\.npz.*cameras_params"):
        DTU(path=str(scan)).load("scan7")


def test_iso_points_pickled_data_dict(made, tmp_path):
    """The same scene with its options pickled, as Iso-Points wrote them."""
    ours = DTU(path=str(made / "mvr")).load("scan7").observation
    scan = tmp_path / "scan7"
    scan.mkdir()
    for name in ("image", "mask", "mesh.obj"):
        (scan / name).symlink_to(made / "mvr" / "scan7" / name)
    with np.load(made / "mvr" / "scan7" / "data_dict.npz") as plain:
        arrays = {name: plain[name] for name in plain.files}
    for name in arrays:
        if name == "cameras_params" or (name.startswith("lights_") and name != "lights_type"):
            arrays[name] = np.array(json.loads(arrays[name].item()), dtype=object)
    np.savez(scan / "data_dict.npz", **arrays)
    theirs = DTU(path=str(scan)).load("scan7").observation
    np.testing.assert_allclose(theirs.poses, ours.poses)
    np.testing.assert_allclose(theirs.intrinsics, ours.intrinsics)
    assert (scan / "data_dict_plain.npz").is_file()


def rewritten(made, tmp_path, change, images=None):
    """The IDR scan with another cameras.npz."""
    scan = tmp_path / "scan7"
    scan.mkdir(exist_ok=True)
    for name in ("image", "mask", "mesh.ply"):
        if not (scan / name).exists():
            (scan / name).symlink_to(made / "idr" / "scan7" / name)
    with np.load(made / "idr" / "scan7" / "cameras.npz") as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(scan / "cameras.npz", **change(arrays))
    return scan


def test_dvr_is_known_by_its_numbers(made, tmp_path):
    """Both ways to write DVR's: K in camera_mat with bare extrinsics, and camera_mat after K in world_mat."""
    ours = DTU(path=str(made / "idr")).load("scan7").observation
    to_unit = np.eye(4)
    to_unit[:3, :3] = np.linalg.inv(unit_to_pixels((48, 64)))
    k = np.eye(4)
    k[:3, :3] = recentred(ours.intrinsics[0].numpy(), -0.5)
    views = invert(ours.poses.numpy())

    def bare(arrays):
        return (
            arrays
            | {f"world_mat_{i}": v for i, v in enumerate(views)}
            | {f"camera_mat_{i}": to_unit @ k for i in range(8)}
        )

    def both(arrays):
        return arrays | {f"camera_mat_{i}": to_unit for i in range(8)}

    for change, layout in ((bare, None), (bare, "dvr"), (both, None), (both, "dvr"), (both, "idr")):
        theirs = DTU(path=str(rewritten(made, tmp_path, change)), layout=layout).load("scan7").observation
        np.testing.assert_allclose(theirs.intrinsics, ours.intrinsics, atol=1e-9)
        np.testing.assert_allclose(theirs.poses, ours.poses, atol=1e-9)


def test_pixel_centres_at_integers_become_halves(made):
    """IDR's files map the centre of the first pixel to (0, 0); here it is (0.5, 0.5)."""
    views = DTU(path=str(made / "idr")).load("scan7").observation
    with np.load(made / "idr" / "scan7" / "cameras.npz") as file:
        theirs = file["world_mat_0"][:3]
    point = np.array([5.3, 1.2, -1.9])
    image = theirs @ [*point, 1]
    ours, _ = project(point[None], views.intrinsics[0].numpy(), views.poses[0].numpy())
    np.testing.assert_allclose(ours[0], image[:2] / image[2] + 0.5, atol=1e-9)


def test_cameras_by_number_masks_by_number(made, tmp_path):
    """A scan of which images are missing, as in published subsets; and one whose cameras were counted afresh."""
    scan = rewritten(made, tmp_path, lambda arrays: arrays)
    for name in ("image", "mask"):
        (scan / name).unlink()
        (scan / name).mkdir()
        for number in (1, 4, 6):
            end = f"{number:03d}.png" if name == "mask" else f"{number:06d}.png"
            (scan / name / end).symlink_to(made / "idr" / "scan7" / name / f"{number:06d}.png")
    whole = DTU(path=str(made / "idr")).load("scan7").observation
    some = DTU(path=str(scan)).load("scan7").observation
    np.testing.assert_allclose(some.poses, whole.poses[[1, 4, 6]])
    assert bool((some.mask == whole.mask[[1, 4, 6]]).all())
    rewritten(made, tmp_path, lambda a: {k: v for k, v in a.items() if k[-1] in "012"})
    afresh = DTU(path=str(scan)).load("scan7").observation
    np.testing.assert_allclose(afresh.poses, whole.poses[:3])
    rewritten(made, tmp_path, lambda a: {k: v for k, v in a.items() if k[-1] in "02"})
    with pytest.raises(DataError, match="2 cameras; there are 3 images"):
        DTU(path=str(scan)).load("scan7")


def test_without_masks_and_scale(made, tmp_path):
    scan = rewritten(made, tmp_path, lambda a: {k: v for k, v in a.items() if not k.startswith("scale")})
    found = DTU(path=str(scan)).load("scan7")
    away = np.linalg.norm(found.observation.region.to_local(found.target.surface.vertices), axis=1)
    assert 0.6 < away.max() < 1.05
    (scan / "mask").unlink()
    (scan / "mask").mkdir()
    for number in range(8):
        write_png(scan / "mask" / f"{number:06d}.png", np.zeros((48, 64), np.uint8))
    assert DTU(path=str(scan)).load("scan7").observation.region is None
    rmtree(scan / "mask")
    bare = DTU(path=str(scan)).load("scan7").observation
    assert bare.mask is None
    assert bare.region is None
    assert DTU(path=str(made / "idr"), masks=False).load("scan7").observation.mask is None


def test_downscale_averages_and_keeps_borders(made):
    whole = DTU(path=str(made / "idr")).load("scan7").observation
    half = DTU(path=str(made / "idr"), downscale=2).load("scan7").observation
    blocks = whole.images.double().reshape(8, 3, 24, 2, 32, 2).mean(dim=(3, 5))
    assert float((half.images - blocks).abs().max()) <= 0.5
    np.testing.assert_allclose(half.intrinsics[:, :2], whole.intrinsics[:, :2] / 2)
    odd = DTU(path=str(made / "idr"), downscale=5).load("scan7").observation
    assert odd.images.shape[2:] == (9, 12)
    np.testing.assert_allclose(odd.intrinsics[:, :2], whole.intrinsics[:, :2] / 5)
    with pytest.raises(ConfigError, match="downscale"):
        DTU(path=str(made / "idr"), downscale=0)


def test_stereo_clouds_are_cut_by_masks(made, tmp_path, rng):
    mesh = read_mesh(made / "idr" / "scan7" / "mesh.ply").to_trimesh()
    points, faces = trimesh.sample.sample_surface(mesh, 500, seed=1)
    stray = mesh.centroid + rng.normal(size=(100, 3)) * 0.05 + [0, 0, 1.2]
    normals = np.vstack([mesh.face_normals[faces], np.tile([0, 0, 1.0], (100, 1))])
    clouds = tmp_path / "clouds"
    clouds.mkdir()
    write_cloud(clouds / "furu007_l3.ply", Cloud(np.vstack([points, stray]), normals))
    data = DTU(path=str(made / "idr"), clouds=str(clouds), dilate=25)
    assert data.gives == (PosedViews, OrientedPoints, *DTU.may_give[2:])
    assert len(data.load("scan7").observation.sparse) == 500
    data.use(OrientedPoints)
    found = data.load("scan7").observation
    assert isinstance(found, OrientedPoints)
    np.testing.assert_allclose(found.points, points, atol=1e-5)
    assert data.item("scan7", "train", Draw(0, 0, 0)).observation.points.shape == (8000, 3)
    raw = DTU(path=str(made / "idr"), clouds=str(clouds), dilate=None)
    raw.use(OrientedPoints)
    assert len(raw.load("scan7").observation.points) == 600
    none = DTU(path=str(made / "idr"))
    none.use(OrientedPoints)
    with pytest.raises(DataError, match="no stereo cloud"):
        none.load("scan7")
    with pytest.raises(ConfigError, match=r"data\.clouds.*not there"):
        DTU(path=str(made / "idr"), clouds=str(tmp_path / "nothing")).load("scan7")


def test_stereo_clouds_without_normals_and_their_masks(made, tmp_path, rng):
    mesh = read_mesh(made / "idr" / "scan7" / "mesh.ply").to_trimesh()
    write_cloud(tmp_path / "clouds" / "scan7.ply", Cloud(trimesh.sample.sample_surface(mesh, 200, seed=1)[0]))
    scan = rewritten(made, tmp_path, lambda arrays: arrays)
    data = DTU(path=str(scan), clouds=str(tmp_path / "clouds"), dilate=25)
    assert data.gives == (PosedViews, Points, Views)
    data.use(Points)
    assert len(data.load("scan7").observation.points) == 200
    oriented = DTU(path=str(scan), clouds=str(tmp_path / "clouds"))
    oriented.use(OrientedPoints)
    with pytest.raises(DataError, match="no stereo cloud of this scan with normals"):
        oriented.load("scan7")
    (scan / "mask").unlink()
    (scan / "mask").mkdir()
    for number in range(8):
        write_png(scan / "mask" / f"{number:06d}.png", np.full((10, 10 + number % 2), 255, np.uint8))
    data = DTU(path=str(scan), clouds=str(tmp_path / "clouds"))
    data.use(Points)
    with pytest.raises(DataError, match="the mask has 10 x 10 pixels"):
        data.load("scan7")


def test_files_are_decoded_once(made, tmp_path, monkeypatch):
    mesh = read_mesh(made / "idr" / "scan7" / "mesh.ply").to_trimesh()
    write_cloud(tmp_path / "scan7.ply", Cloud(trimesh.sample.sample_surface(mesh, 200, seed=1)[0]))
    counts = Counter()
    for name in ("read_image", "read_mask", "read_geometry"):
        read = getattr(dtu, name)
        monkeypatch.setattr(dtu, name, lambda *a, _r=read, _n=name, **k: counts.update([_n]) or _r(*a, **k))
    data = DTU(path=str(made / "idr"), clouds=str(tmp_path), dilate=25)
    assert PosedViews in data.gives
    data.use(PosedViews)
    for _ in range(2):
        assert len(data.load("scan7").observation.sparse) == 200
        data.item("scan7", "train", Draw(0, 0, 0))
    assert counts == {"read_image": 8, "read_mask": 8, "read_geometry": 1}


def test_official_truth(made, tmp_path, rng):
    truth = tmp_path / "SampleSet"
    write_cloud(truth / "Points" / "stl" / "stl007_total.ply", Cloud(rng.normal(size=(50, 3))))
    observed = rng.random((4, 5, 6)) > 0.5
    (truth / "ObsMask").mkdir()
    box = np.array([[-1.0, -2, -3], [1, 2, 3]])
    savemat(truth / "ObsMask" / "ObsMask7_10.mat", {"ObsMask": observed.astype(np.uint8), "BB": box, "Res": 0.5})
    found = DTU(path=str(made / "idr"), truth=str(truth)).load("scan7").target
    assert isinstance(found, ObservedTruth)
    assert found.plane is None
    savemat(truth / "ObsMask" / "Plane7.mat", {"P": np.array([[0.0], [0], [1], [2]])}, do_compression=True)
    found = DTU(path=str(made / "idr"), truth=str(truth)).load("scan7").target
    np.testing.assert_array_equal(found.observed, observed)
    np.testing.assert_array_equal(found.box, box)
    assert found.resolution == 0.5
    np.testing.assert_array_equal(found.plane, [0, 0, 1, 2])
    assert len(found.surface.points) == 50
    for content in (b"", b"MATLAB 5.0 MAT-file" + b"\0" * 200, (truth / "ObsMask" / "Plane7.mat").read_bytes()):
        (truth / "ObsMask" / "ObsMask7_10.mat").write_bytes(content)
        with pytest.raises(DataError, match=r"ObsMask7_10\.mat"):
            DTU(path=str(made / "idr"), truth=str(truth)).load("scan7")
    with pytest.raises(DataError, match="stl007_total"):
        DTU(path=str(made / "idr"), truth=str(tmp_path)).load("scan7")
    with pytest.raises(ConfigError, match=r"data\.truth.*not there"):
        DTU(path=str(made / "idr"), truth=str(tmp_path / "nothing")).load("scan7")


@settings(max_examples=30, deadline=None, derandomize=True)
@given(noise=st.binary(max_size=60), where=st.integers(0, 10_000), compressed=st.booleans())
def test_damaged_matlab_files_are_told(tmp_path_factory, noise, where, compressed):
    file = tmp_path_factory.mktemp("mat") / "ObsMask7_10.mat"
    fields = {"ObsMask": np.ones((4, 5, 6), np.uint8), "BB": np.zeros((2, 3)), "Res": 0.5, "P": np.ones((4, 1))}
    savemat(file, fields, do_compression=compressed)
    data = bytearray(file.read_bytes())
    where %= len(data)
    data[where : where + len(noise)] = noise
    for content in (bytes(data), bytes(data[:where]), noise):
        file.write_bytes(content)
        for read in (read_observed, read_plane):
            try:
                read(file)
            except DataError as error:
                assert "ObsMask7_10.mat" in str(error)  # noqa: PT017 - damage may lie where nothing is


def test_bad_scans_are_told(made, tmp_path):
    with pytest.raises(ConfigError, match=r"not there(.|\n)*recon prepare data=dtu"):
        DTU(path=str(tmp_path / "nothing")).names()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no scan"):
        DTU(path=str(tmp_path / "empty")).names()
    with pytest.raises(ConfigError, match="layout"):
        DTU(layout="colmap")
    scan = rewritten(made, tmp_path, lambda a: a | {"world_mat_3": np.zeros((4, 4))})
    with pytest.raises(DataError, match=r"cameras\.npz.*'world_mat'.*singular"):
        DTU(path=str(scan)).load("scan7")
    scan = rewritten(made, tmp_path, lambda a: a)
    with pytest.raises(DataError, match="camera_mat_0"):
        DTU(path=str(scan), layout="dvr").load("scan7")
    with pytest.raises(DataError, match=r"cameras_sphere(.|\n)*data\.cameras=cameras\.$"):
        DTU(path=str(scan), cameras="cameras_sphere").load("scan7")
    assert DTU(path=str(scan), cameras="cameras.npz").load("scan7").index == 0
    with pytest.raises(ConfigError, match="no such scene"):
        DTU(path=str(scan)).load("scan8")
    for wrong in ({"downscale": 2.5}, {"downscale": "two"}, {"dilate": -1}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            DTU(path=str(scan), **wrong)
    (scan / "mask").unlink()
    (scan / "mask").mkdir()
    for number in range(8):
        write_png(scan / "mask" / f"{number:06d}.png", np.zeros((10, 10), np.uint8))
    with pytest.raises(DataError, match="mask has 10 x 10"):
        DTU(path=str(scan)).load("scan7")


@pytest.mark.parametrize("cameras", ["cameras", "cameras_sphere"])
def test_hull_of_scan_65_reprojects(data_dir, cameras):
    """The masks' visual hull has their silhouettes: cameras, pixel centres and masks belong together."""
    views = (
        DTU(path=str(data_dir / "dtu_scan65_fifth"), cameras=cameras, downscale=2).load("dtu_scan65_fifth").observation
    )
    assert len(views.images) >= 40
    k, poses = views.intrinsics.numpy(), views.poses.numpy()
    mesh = visual_hull(views.mask[:, 0].numpy(), k, poses, views.region, 64)
    assert mesh.to_trimesh().is_watertight
    assert iou(views, mesh).mean() > 0.96
    # All cameras of a scan are one: DTU's robot moved it.
    assert np.abs(k - k[0]).max() < 0.01


def test_noisy_cameras_of_scan_65_do_not_fit(data_dir):
    """The linear initialisation is what IDR starts from to refine cameras: the test above can fail."""
    data = DTU(path=str(data_dir / "dtu_scan65_fifth"), cameras="cameras_linear_init", downscale=4)
    views = data.load("dtu_scan65_fifth").observation
    mesh = visual_hull(views.mask[:, 0].numpy(), views.intrinsics.numpy(), views.poses.numpy(), views.region, 48)
    assert iou(views, mesh).mean() < 0.8
