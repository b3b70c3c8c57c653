"""ScanNet's three layouts, written from one room whose geometry is known: what is read must lie on it."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from recon.data.loading import Draw
from recon.data.scannet import ScanNet
from recon.data.scannet_fused import fused_frame
from recon.data.scannet_truth import object_mesh
from recon.data.synthesis.scannet_fused import ScannetFused, write_fused
from recon.errors import ConfigError, DataError
from recon.geometry.cameras import backproject, recentred
from recon.geometry.distance import MeshDistance
from recon.io.clouds import write_cloud
from recon.io.meshes import read_mesh, write_mesh
from recon.io.onet import write_pointcloud
from recon.io.sens_writer import write_sens
from recon.io.types import Cloud, Mesh
from recon.observations import OrientedPoints, Points, PosedRGBD, PosedViews, Truth
from tests.data import scannet_trees as trees

TURNED = np.eye(4)
TURNED[:2, :2] = [[0.939693, 0.342020], [-0.342020, 0.939693]]
TURNED[:3, 3] = [-2.5, 1.5, 0.3]


def off(points: np.ndarray | torch.Tensor, mesh: Mesh | None = None) -> np.ndarray:
    """Distances of points to the room."""
    return MeshDistance(mesh or trees.room()).query(np.asarray(points)).distance


def volume(mesh: Mesh) -> float:
    """Positive if its faces wind as seen from outside."""
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


# --- fused scans ------------------------------------------------------------------------------------------------------


def test_the_fused_frame_is_alto_s_and_mirrors_nothing():
    room, back = trees.room(), np.linalg.inv(TURNED)
    scanned = room.vertices @ back[:3, :3].T + back[:3, 3]
    frame = fused_frame(scanned, TURNED)
    local = frame.to_local(scanned)
    low, high = local.min(axis=0), local.max(axis=0)
    assert np.allclose(np.ptp(local, axis=0), np.ptp(room.vertices, axis=0)[[0, 2, 1]] / 4.05, atol=1e-5)
    assert np.allclose([low[0] + high[0], low[1] + 0.5, low[2] + high[2], np.max(high - low)], [0, 0, 0, 1], atol=1e-9)
    # Up is y, and the walls' corner, seen from above, has the room on the same side as before.
    assert np.allclose(frame.normals_to_local(back[:3, 2][None]), [[0, 1, 0]], atol=1e-6)
    assert np.linalg.det(frame.rotation) == pytest.approx(1)
    assert volume(Mesh(local, room.faces)) * frame.scale**3 == pytest.approx(volume(room))
    assert np.abs(frame.to_world(local) - scanned).max() < 1e-12


@pytest.mark.parametrize("stored", [False, True])
def test_fused_scans_from_meshes_and_from_files_made_of_them(tmp_path, stored):
    path = tmp_path / "scans"
    folder = trees.write_scan(path / "scene0000_00", TURNED)
    mesh = read_mesh(folder / "scene0000_00_vh_clean_2.ply")
    if stored:
        path = tmp_path / "made"
        made, rejected = ScannetFused(source=str(folder.parent), path=str(path), workers=0, samples=20_000).run()
        assert [item.name for item in made] == ["scene0000_00"]
        assert not rejected
        assert made[0].thumbnail.std() > 20
        assert {"pointcloud.npz", "frame.json"} <= {f.name for f in (path / "scene0000_00").iterdir()}
    data = ScanNet(path=str(path), samples=20_000, points=3000, noise=0.0)
    assert data.gives == (OrientedPoints, Points)
    scene = data.load("scene0000_00")
    seen, truth = scene.observation, scene.target.surface
    assert isinstance(seen, OrientedPoints)
    assert seen.points.shape == (3000, 3)
    assert seen.points.dtype == torch.float32
    assert seen.points[:, 1].min() >= -0.5005
    cloud = seen.to_cloud()
    exact = 0.002 if stored else 1e-6
    assert off(cloud.points, mesh).max() < exact
    assert isinstance(truth, Cloud)
    assert len(truth.points) == 20_000
    assert off(truth.points, mesh).max() < exact
    facing = MeshDistance(mesh).query(cloud.points - 0.01 * cloud.normals)
    assert np.median(facing.distance) > 0.009
    noisy = ScanNet(path=str(path), samples=20_000, points=3000, noise=0.01).load("scene0000_00").observation
    spread = off(noisy.to_cloud().points, mesh) / noisy.frame.scale
    assert 0.006 < spread.mean() < 0.01


def test_items_of_fused_scans_follow_their_draw(tmp_path):
    for name in ("scene0000_00", "scene0001_00"):
        trees.write_scan(tmp_path / name)
    (tmp_path / "scannetv2_val.txt").write_text("scene0001_00\nscene0099_00\n")
    data = ScanNet(path=str(tmp_path), points=500, samples=2000, use_normals=False)
    assert data.names("val") == ["scene0001_00"]
    assert data.names("train") == ["scene0000_00", "scene0001_00"]
    one, same, other = (data.item("scene0001_00", "train", Draw(0, 0, i)).observation for i in (1, 1, 2))
    assert type(one) is Points
    assert torch.equal(one.points, same.points)
    assert not torch.equal(one.points, other.points)
    batch = next(iter(ScanNet(path=str(tmp_path), points=500, samples=2000, batch_size=2).val_dataloader()))
    assert batch.observation.points.shape == (1, 500, 3)


def test_the_originals_files_are_their_own_world(tmp_path):
    rng = np.random.default_rng(0)
    write_pointcloud(tmp_path / "scene0000_00" / "pointcloud.npz", rng.uniform(-0.5, 0.5, (500, 3)))
    data = ScanNet(path=str(tmp_path))
    assert data.gives == (Points,)
    assert data.load("scene0000_00").observation.frame.scale == 1
    for text in ("", "{}", "[" * 9999, '{"scale": -1, "rotation": [[1,0,0],[0,1,0],[0,0,1]], "translation": [0,0,0]}'):
        (tmp_path / "scene0000_00" / "frame.json").write_text(text)
        with pytest.raises(DataError, match=r"frame\.json"):
            data.item("scene0000_00", "test", Draw(0, 0, 0))


def test_any_mesh_is_a_scan_where_none_is_named_like_one(tmp_path):
    write_mesh(tmp_path / "a" / "mesh.ply", trees.room())
    write_mesh(tmp_path / "b" / "mesh.ply", trees.room())
    factory = ScannetFused(source=str(tmp_path), path=str(tmp_path / "out"), workers=0)
    assert len({item.folder for item in factory.items()}) == 2
    fused = write_fused(trees.room(), tmp_path / "one", 100, seed=3)
    assert len(fused.points) == 100


# --- recordings -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """The same room as a .sens file and as exported folders."""
    path = tmp_path_factory.mktemp("recordings")
    for name, write in (("scene0000_00", trees.write_recording), ("scene0001_00", trees.write_exported)):
        write(path / name)
        trees.write_scan(path / name)
    return path


def test_images_are_as_stored_whatever_their_exif_data_say(tmp_path):
    """A camera's K is of the pixels as stored."""
    exif = Image.Exif()
    exif[0x0112] = 6
    trees.write_object(tmp_path / "objects" / OBJECT)
    for path in (trees.write_exported(tmp_path / "scans" / "scene") / "color", tmp_path / "objects" / OBJECT / "image"):
        kind = "sequence" if path.name == "color" else "o2recon"
        load = lambda: ScanNet(path=str(path.parent), every=1, kind=kind).load(path.parent.name)  # noqa: B023, E731
        whole = load().observation.images
        for file in path.iterdir():
            with Image.open(file) as image:
                image.save(file.with_suffix(".png"), exif=exif)
            if file.suffix != ".png":
                file.unlink()
        assert torch.equal(load().observation.images, whole)


@pytest.mark.parametrize("size", ["depth", "color", [45, 70]])
@pytest.mark.parametrize("name", ["scene0000_00", "scene0001_00"])
def test_views_of_a_recording_lie_on_the_room(recordings, name, size, caplog):
    data = ScanNet(path=str(recordings), every=1, size=size)
    assert data.gives == (PosedRGBD, PosedViews, OrientedPoints, Points)
    with caplog.at_level(logging.WARNING, "recon"):
        scene = data.load(name)
    views, step = scene.observation, 1 if name == "scene0000_00" else 10
    wanted = {"depth": trees.DEPTH_SIZE, "color": trees.COLOR_SIZE}.get(str(size), (45, 70))
    assert views.images.shape == (6, 3, *wanted)
    assert views.images.dtype == torch.uint8
    assert [int(n) for n in views.view_names] == [i * step for i in (0, 1, 3, 4, 6, 7)]
    assert [what for what, _ in scene.skipped] == [f"{name}, frame {i * step}" for i in trees.LOST]
    assert "2 frames have no pose" in caplog.text
    errors, colors = [], []
    for rgb, depth, k, pose in zip(views.images, views.depth[:, 0], views.intrinsics, views.poses, strict=True):
        points = backproject(depth.numpy(), k.numpy(), pose.numpy())
        errors.append(off(points))
        shown = rgb.permute(1, 2, 0).numpy()[depth.numpy() > 0].astype(int)
        colors.append(np.abs(shown - trees.paint(points)).max(axis=1))
    # Depth in another camera is that of the nearest pixel, of which these images have few.
    assert np.percentile(np.concatenate(errors), 95) < (0.001 if size == "depth" else 0.04)
    assert np.median(np.concatenate(errors)) < (0.001 if size == "depth" else 0.01)
    assert np.median(np.concatenate(colors)) <= (1 if size == "depth" else 3)
    sphere = views.region
    assert (np.linalg.norm(sphere.to_local(trees.room().vertices), axis=1) < 1.6).all()
    local = views.normalized()
    again = backproject(local.depth[0, 0].numpy(), local.intrinsics[0].numpy(), local.poses[0].numpy())
    assert np.median(off(local.frame.to_world(again))) < 0.01
    assert np.allclose(scene.target.surface.vertices, trees.room().vertices)


def test_labels_tell_which_part_a_pixel_shows(recordings):
    for labels, unit in (("instance", 1), ("semantic", 100)):
        views = ScanNet(path=str(recordings), every=1, labels=labels).load("scene0001_00").observation
        right = total = 0
        for row, pose in enumerate(views.poses.numpy()):
            exact = trees.seen(pose, recentred(views.intrinsics[row].numpy(), -0.5), trees.DEPTH_SIZE).label
            right += (views.label[row, 0].numpy() == unit * exact).sum()
            total += exact.size
        assert right / total > 0.95


def test_which_frames_are_taken(recordings):
    names = ScanNet(path=str(recordings), every=3).load("scene0000_00").observation.view_names
    assert names == ("0", "3", "6")
    views = ScanNet(path=str(recordings), every=1, max_frames=3).load("scene0000_00").observation
    assert views.view_names == ("0", "3", "7")


def test_points_of_a_recording_are_its_fused_cloud(recordings):
    data = ScanNet(path=str(recordings), every=1, voxel=0.05)
    data.use(OrientedPoints)
    points = data.load("scene0000_00").observation
    assert isinstance(points, OrientedPoints)
    found = MeshDistance(trees.room()).query(points.points.numpy())
    assert np.percentile(found.distance, 90) < 0.02
    corners = trees.room().vertices[trees.room().faces[found.face]]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    assert np.median((normal * points.normals.numpy()).sum(axis=1)) > 0.99
    data.use(Points)
    assert type(data.load("scene0000_00").observation) is Points
    item = data.item("scene0000_00", "train", Draw(0, 0, 0)).observation
    assert item.points.shape == (10_000, 3)
    far = ScanNet(path=str(recordings), every=1, voxel=0.05, far=2.0)
    far.use(Points)
    assert len(far.load("scene0000_00").observation.points) < 0.9 * len(points.points)


def test_the_truth_of_an_object_are_its_annotated_faces(recordings):
    table = object_mesh(recordings / "scene0000_00", 3)
    assert len(table.faces) == 12
    assert np.allclose(table.vertices.min(axis=0), [-0.2, -0.1, 0])
    with pytest.raises(DataError, match="object 9"):
        object_mesh(recordings / "scene0000_00", 9)


def test_recordings_that_cannot_be_used(tmp_path, parity_dir, caplog):
    for file in sorted(parity_dir.glob("o2recon/*/*.sens"))[:1]:
        (tmp_path / "tiny" / "scene").mkdir(parents=True)
        (tmp_path / "tiny" / "scene" / file.name).write_bytes(file.read_bytes())
        with pytest.raises(DataError, match="intrinsic matrix"):  # random numbers
            ScanNet(path=str(tmp_path / "tiny"), every=1).load("scene")
    lost = [replace(frame, pose=np.full((4, 4), -np.inf)) for frame in trees.frames(2)]
    (tmp_path / "lost").mkdir()
    write_sens(tmp_path / "lost" / "a.sens", lost, trees.COLOR_K, trees.DEPTH_K)
    with pytest.raises(DataError, match="none of 2 frames has a pose"):
        ScanNet(path=str(tmp_path), every=1).load("lost")
    folder = trees.write_exported(tmp_path / "good" / "scene")
    load = lambda: ScanNet(path=str(tmp_path / "good"), every=1).load("scene")  # noqa: E731
    trees.write_png(folder / "depth" / "10.png", np.ones((5, 5), dtype=np.uint16))
    with pytest.raises(DataError, match="frame 10"):
        load()
    (folder / "depth" / "10.png").unlink()
    caplog.clear()
    assert len(load().observation.images) == 5
    assert "7 frames have colour, depth and pose; there are 8 in 'color', 7 in 'depth', 8 in 'pose'" in caplog.text
    (folder / "instance-filt" / "40.png").write_bytes(b"no png")
    with pytest.raises(DataError, match=r"40\.png"):
        load()
    trees.write_matrix(folder / "intrinsic" / "intrinsic_depth.txt", np.diag([6.0, 60, 1, 1]))
    with pytest.raises(DataError, match="do not look the same way"):
        load()
    trees.write_matrix(folder / "intrinsic" / "intrinsic_depth.txt", np.zeros((4, 4)))
    with pytest.raises(DataError, match="intrinsic_depth"):
        load()
    for file in (folder / "pose").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="no frame has colour, depth and pose; there are 8 in 'color'"):
        load()


# --- objects ----------------------------------------------------------------------------------------------------------

OBJECT = "scene0000_00_scannet_obj_4_inpainted"


def test_a_published_object_lies_in_its_room(tmp_path):
    region = trees.write_object(tmp_path / "paper" / OBJECT)
    trees.write_scan(tmp_path / "scans" / "scene0000_00_scannet")
    scene = ScanNet(path=str(tmp_path / "paper"), scans=str(tmp_path / "scans")).load(OBJECT)
    views = scene.observation
    assert isinstance(views, PosedRGBD)
    assert scene.category == "coffee table"
    assert views.region.scale == region.scale
    assert views.sparse is None
    normals = []
    for row, pose in enumerate(trees.poses(4)):
        assert np.allclose(views.poses[row], pose, atol=1e-6)
        assert np.allclose(views.intrinsics[row], recentred(trees.DEPTH_K), atol=1e-6)
        exact = trees.seen(pose, trees.DEPTH_K, trees.DEPTH_SIZE)
        inside = exact.label == 4
        assert np.array_equal(views.mask[row, 0].numpy() > 127, inside)
        # A count is 1.25 mm, and counts are cut off, not rounded.
        assert np.abs(views.depth[row, 0].numpy() - exact.depth)[exact.depth > 0].max() < 0.0013
        found = views.normal[row].permute(1, 2, 0).numpy()
        assert (found[~inside] == 0).all()
        normals.append((found * exact.normal).sum(axis=2)[inside])
    assert np.concatenate(normals).min() > 0.9999
    truth = scene.target.surface
    assert len(truth.faces) == 12
    data = ScanNet(path=str(tmp_path / "paper"), far=9.0)
    data.use(OrientedPoints)
    points = data.load(OBJECT)
    assert points.target is None
    assert np.median(off(points.observation.points, truth)) < 0.003


def test_pixels_without_depth_are_not_known_points(tmp_path):
    """The published clouds have them where the cameras are."""
    trees.write_object(tmp_path / OBJECT)
    points = np.concatenate([trees.room().vertices, np.repeat(trees.poses(4)[:, :3, 3], 5, axis=0)])
    write_cloud(tmp_path / OBJECT / "point_cloud_scan.ply", Cloud(points))
    sparse = ScanNet(path=str(tmp_path)).load(OBJECT).observation.sparse
    assert len(sparse) > 8
    assert off(sparse).max() < 1e-6


def test_the_camera_of_an_image_is_that_of_its_number(tmp_path):
    folder = tmp_path / OBJECT
    trees.write_object(folder)
    (folder / "image" / "0001.png").unlink()
    views = ScanNet(path=str(tmp_path)).load(OBJECT).observation
    assert views.view_names == ("0000", "0002", "0003")
    np.testing.assert_allclose(views.poses, trees.poses(4)[[0, 2, 3]], atol=1e-6)


def test_what_a_published_object_may_and_may_not_lack(tmp_path):
    folder = tmp_path / OBJECT
    trees.write_object(folder)
    write_mesh(folder / "point_cloud_scan.ply", trees.room())
    load = lambda **options: ScanNet(path=str(tmp_path), **options).load(OBJECT)  # noqa: E731
    (folder / "semantic.txt").unlink()
    for file in (folder / "mask").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"mask/0000\.png"):
        load()
    (folder / "mask").rmdir()
    assert (load().observation.mask == 255).all()
    assert load().observation.sparse.shape[1] == 3
    with pytest.raises(DataError, match="holds no scan"):
        load(scans=str(tmp_path))
    (folder / "pred_normal" / "0002.npz").unlink()
    with pytest.raises(DataError, match=r"0002\.npz"):
        load()
    np.savez(folder / "pred_normal" / "0002.npz", np.zeros((3, 3, 3)))
    with pytest.raises(DataError, match="field 'arr_0'"):
        load()
    (folder / "trans_n2w.txt").write_text("1 0 0 0 0 2 0 0 0 0 1 0 0 0 0 1")
    with pytest.raises(DataError, match=r"trans_n2w\.txt"):
        load()
    np.savez(folder / "cameras_sphere.npz", world_mat_0=np.eye(4))
    with pytest.raises(DataError, match="world_mat_1"):
        load()


def test_depth_is_looked_up_where_the_crop_has_put_it(tmp_path):
    """Depth of the whole frame, colours of its crop: both of the one wall that fills the picture."""
    folder, size = tmp_path / OBJECT, (480, 640)
    trees.write_object(folder, size=trees.DEPTH_SIZE)
    columns = np.tile(np.arange(size[1], dtype=np.uint16), (size[0], 1))
    whole = (columns + 0.5) / size[1] * 1296  # colour pixels of the whole frame
    for i in range(4):
        trees.write_png(folder / "image" / f"{i:04d}.png", np.zeros((*size, 3), dtype=np.uint8))
        trees.write_png(folder / "mask" / f"{i:04d}.png", np.zeros(size, dtype=np.uint8))
        trees.write_png(folder / "scale_depth" / f"{i:04d}.png", np.round(10 * whole).astype(np.uint16))
        np.savez(folder / "pred_normal" / f"{i:04d}.npz", np.zeros((*size, 3)))
    views = ScanNet(path=str(tmp_path), fix_crop=True).load(OBJECT).observation
    read = views.depth[0, 0].numpy() / 1.25 * 100
    assert np.abs(read - ((columns + 0.5) * 1.95 + 24)).max() < 1.1  # half a pixel of the whole frame


# --- all --------------------------------------------------------------------------------------------------------------


def test_what_users_get_wrong(tmp_path, recordings):
    with pytest.raises(ConfigError, match="is not there") as told:
        ScanNet(path=str(tmp_path / "nowhere")).names()
    assert "prepare data=scannet" in told.value.mend
    with pytest.raises(ConfigError, match="no scans, recordings or objects"):
        ScanNet(path=str(tmp_path)).names()
    with pytest.raises(ConfigError, match="'o2recon'"):
        ScanNet(path=str(recordings), kind="o2recon").names()
    with pytest.raises(ConfigError, match=r"data\.size=big"):
        ScanNet(size="big")
    for size in ([5], [-1, 5], [5.5, 5], ["a", "b"]):
        with pytest.raises(ConfigError, match=r"data\.size"):
            ScanNet(size=size)
    for wrong in ({"every": 0}, {"every": 1.5}, {"max_frames": 2.5}, {"max_frames": 0}):
        with pytest.raises(ConfigError, match="positive"):
            ScanNet(**wrong)
    for option, known in (("kind", "auto, o2recon, sequence, fused"), ("labels", "null, instance, semantic")):
        with pytest.raises(ConfigError, match=rf"data\.{option}=typo") as told:
            ScanNet(**{option: "typo"})
        assert known in told.value.mend
    with pytest.raises(ConfigError, match=r"data\.scans.*not there"):
        ScanNet(scans=str(tmp_path / "nowhere"))
    (tmp_path / "listed").mkdir()
    (tmp_path / "listed" / "scene0000_00").symlink_to(recordings / "scene0000_00")
    (tmp_path / "listed" / "test.lst").write_text("scene0005_00\n")
    with pytest.raises(ConfigError, match="test split of these data is empty"):
        ScanNet(path=str(tmp_path / "listed")).selected()
    with pytest.raises(ConfigError, match="no such scene"):
        ScanNet(path=str(recordings)).load("scene0000_0")
    assert ScanNet(path=str(recordings), kind="fused").gives == (OrientedPoints, Points)
    assert list(ScanNet(path=str(recordings / "scene0000_00")).names()) == ["scene0000_00"]


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_damaged_object_breaks_the_reader(tmp_path, data):
    folder = tmp_path / OBJECT
    if not folder.is_dir():
        trees.write_object(folder, size=(6, 8))
    files = sorted(f for f in folder.rglob("*") if f.is_file())
    file = data.draw(st.sampled_from(files))
    whole = file.read_bytes()
    place = data.draw(st.integers(0, len(whole)))
    file.write_bytes(whole[:place] + data.draw(st.binary(max_size=20)) + whole[place + data.draw(st.integers(0, 9)) :])
    try:
        scene = ScanNet(path=str(tmp_path), kind="o2recon").load(OBJECT)
        assert isinstance(scene.observation, PosedRGBD)
    except DataError as error:
        assert str(folder) in error.what  # noqa: PT017 - either is right
    finally:
        file.write_bytes(whole)


def test_truth_is_that_of_the_scan(recordings):
    scene = ScanNet(path=str(recordings), every=4).load("scene0001_00")
    assert isinstance(scene.target, Truth)
    assert json.dumps(scene.observation.frame.state()) == json.dumps(type(scene.observation.frame)().state())
