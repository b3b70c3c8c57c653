"""The same recording of a sphere in every format: its cameras, its region, its depth and its surface come out alike."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from recon.cli import main
from recon.data.own import Own
from recon.errors import ConfigError, DataError
from recon.geometry.cameras import project
from recon.geometry.distortion import sampled
from recon.io.images import write_png
from recon.io.meshes import read_mesh
from recon.observations import OrientedPoints, Points, PosedRGBD, PosedViews, Views
from tests.data import recordings
from tests.data.recordings import CENTRE, RADIUS, SIZE, VIEWS, K

POSED = {
    "transforms": recordings.transforms,
    "middlebury": recordings.middlebury,
    "colmap_binary": recordings.colmap,
    "colmap_text": lambda folder: recordings.colmap(folder, text=True),
}
RGBD = {
    "seven_scenes": recordings.seven_scenes,
    "redwood": recordings.redwood,
    "tum": recordings.tum,
    "sun": recordings.sun,
    "scannet": recordings.scannet,
}


def only(data: Own):
    return data.load(data.names()[0]).observation


@pytest.mark.parametrize("kind", [*POSED, *RGBD])
def test_cameras_images_and_region(kind, tmp_path):
    data = Own(input=str({**POSED, **RGBD}[kind](tmp_path / "ball")))
    assert data.names() == ["ball"]
    views = only(data)
    assert type(views) is (PosedRGBD if kind in RGBD else PosedViews)
    assert type(views) in data.gives
    assert views.images.shape == (VIEWS, 3, *SIZE)
    assert views.images.dtype == torch.uint8
    np.testing.assert_allclose(views.poses.numpy(), recordings.poses(), atol=1e-6)
    np.testing.assert_allclose(views.intrinsics.numpy(), np.broadcast_to(K, (VIEWS, 3, 3)), atol=1e-9)
    for image, pose in zip(views.images, recordings.poses(), strict=True):
        assert (image.numpy().transpose(1, 2, 0) == recordings.seen(pose)[0]).all()
    # Wherever it was found from, the sphere of interest holds the ball, and is not much larger.
    centre, radius = views.region.translation, views.region.scale
    off = np.linalg.norm(centre - CENTRE)
    assert off < 0.12
    assert radius < 1.6 * RADIUS + off
    assert radius > (RADIUS if kind in ("transforms", "colmap_binary", "colmap_text", *RGBD) else 0.8 * RADIUS)
    local = views.normalized()
    assert local.poses.dtype == torch.float32
    np.testing.assert_allclose(local.frame.to_world(local.poses[:, :3, 3].numpy()), views.poses[:, :3, 3], atol=1e-5)


@pytest.mark.parametrize("kind", RGBD)
def test_depth_becomes_a_cloud_whose_normals_look_out(kind, tmp_path):
    data = Own(input=str(RGBD[kind](tmp_path / "ball")), voxel=0.02)
    for index, depth in enumerate(only(data).depth[:, 0].numpy()):
        np.testing.assert_allclose(depth, recordings.seen(recordings.poses()[index])[1], atol=6e-4)
    data.use(Points)
    cloud = only(data)
    assert isinstance(cloud, OrientedPoints)
    out = cloud.points.numpy() - CENTRE
    assert len(out) > 1000
    assert np.abs(np.linalg.norm(out, axis=1) - RADIUS).max() < 0.01
    cosine = (out * cloud.normals.numpy()).sum(axis=1) / RADIUS
    assert np.quantile(cosine, 0.02) > 0.95
    assert type(only(Own(input=str(tmp_path / "ball"), use_normals=False, max_views=2))) is PosedRGBD


def test_the_fused_cloud_minds_region_depth_and_frames(tmp_path):
    folder = str(recordings.seven_scenes(tmp_path / "ball"))

    def cloud(**options) -> np.ndarray:
        data = Own(input=folder, **options)
        data.use(Points)
        return only(data).points.numpy()

    cut = cloud(center=[1.3, -0.9, 2.0], radius=0.4)
    assert np.linalg.norm(cut - [1.3, -0.9, 2.0], axis=1).max() <= 0.4 + 1e-9
    one = cloud(max_views=1, max_depth=1.6, voxel=0.01)
    eye, axis = recordings.poses()[0][:3, 3], recordings.poses()[0][:3, 2]
    assert ((one - eye) @ axis).max() < 1.61
    assert len(cloud(every=5, voxel=0.01)) < len(cloud(voxel=0.01))
    far = cloud(depth_unit=0.002, max_views=1, voxel=0.01)
    assert np.median((far - eye) @ axis) > 1.5 * np.median((one - eye) @ axis)
    scan = Own(input=folder, use_normals=False)
    scan.use(Points)
    assert type(only(scan)) is Points


def test_a_recording_goes_through_the_default_method(tmp_path):
    folder = recordings.redwood(tmp_path / "ball")
    run = [
        "trainer=cpu",
        "report=false",
        "logger=none",
        "preview=false",
        "resolution=48",
        f"hydra.run.dir={tmp_path}/run",
    ]
    assert main(["reconstruct", f"input={folder}", f"output={tmp_path}/mesh.ply", "data.voxel=0.03", *run]) == 0
    mesh = read_mesh(tmp_path / "mesh.ply")
    error = np.linalg.norm(mesh.vertices - CENTRE, axis=1) - RADIUS
    assert np.sqrt((error**2).mean()) < 0.01
    assert mesh.to_trimesh().volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.05)


def test_what_a_method_cannot_use_is_said_before_the_work(tmp_path, capsys):
    folder = recordings.middlebury(tmp_path / "ball")
    assert main(["reconstruct", f"input={folder}", f"hydra.run.dir={tmp_path}/run"]) == 2
    assert "own gives posed views" in capsys.readouterr().err


def test_depth_and_masks_that_a_transforms_file_names(tmp_path):
    """Depth of half the size, as telephones give it: the photographs keep theirs; masks cut the fused cloud."""
    folder = recordings.transforms(tmp_path / "ball", alpha=False)
    (folder / "depth").mkdir()
    document = json.loads((folder / "transforms.json").read_text())
    for i, (frame, pose) in enumerate(zip(document["frames"], recordings.poses(), strict=True)):
        _, depth = recordings.seen(pose, np.diag([0.5, 0.5, 1]) @ K, (30, 40))
        if i % 2:
            np.save(folder / f"depth/{i}.npy", (depth * 1000).astype(np.float32))
        else:
            write_png(folder / f"depth/{i}.png", np.round(depth * 1000).astype(np.uint16))
        mask = np.zeros(SIZE, dtype=np.uint8)
        mask[: SIZE[0] // 2] = 255
        write_png(folder / f"mask{i}.png", mask)
        frame |= {"depth_file_path": f"depth/{i}.{'npy' if i % 2 else 'png'}", "mask_path": f"mask{i}.png"}
    (folder / "transforms.json").write_text(json.dumps(document))
    data = Own(input=str(folder))
    views = only(data)
    assert type(views) is PosedRGBD
    assert views.depth.shape == (VIEWS, 1, *SIZE)
    assert views.mask[:, :, : SIZE[0] // 2].eq(255).all()
    data.use(Points)
    points = only(data).points.numpy()
    assert np.abs(np.linalg.norm(points - CENTRE, axis=1) - RADIUS).mean() < 0.01
    assert np.quantile(points[:, 1], 0.95) < CENTRE[1] + 0.6 * RADIUS  # y points down: the lower half was masked


def test_masks_of_a_folder_and_of_alpha(tmp_path):
    recordings.middlebury(tmp_path / "ball")
    recordings.write_masks(tmp_path / "masks", "{:03d}.png.png")  # as COLMAP names them
    views = only(Own(input=str(tmp_path / "ball"), masks=str(tmp_path / "masks")))
    alpha = only(Own(input=str(recordings.transforms(tmp_path / "alpha"))))
    assert set(views.mask.unique().tolist()) == {0, 255}
    assert torch.equal(views.mask, alpha.mask)
    assert np.linalg.norm(views.region.translation - CENTRE) < 0.05
    assert RADIUS < views.region.scale < 1.4 * RADIUS
    (tmp_path / "masks/004.png.png").unlink()
    with pytest.raises(DataError, match=r"(?s)no mask of '004\.png'.*Name it '004\.png'"):
        only(Own(input=str(tmp_path / "ball"), masks=str(tmp_path / "masks")))


def test_region_by_hand_and_views_that_are_chosen(tmp_path):
    folder = str(recordings.colmap(tmp_path / "ball"))
    views = only(Own(input=folder, center=[1.0, 2.0, 3.0], radius=4.0, every=2, max_views=3))
    assert views.region.scale == 4.0
    assert views.region.translation.tolist() == [1, 2, 3]
    assert views.view_names == ("000", "004", "008")
    assert views.sparse.shape == (400, 3)
    assert views.normalized(2.0).region.scale == 2.0


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"center": [0.0, 0, 0]}, "go together"),
        ({"center": [0.0, 0], "radius": 1.0}, "three coordinates"),
        ({"every": 0}, "data.every=0"),
        ({"radius": -1.0, "center": [0.0, 0, 0]}, "data.radius=-1"),
        ({"downscale": 0.5}, "at least 1"),
    ],
)
def test_options_that_cannot_be(options, match, tmp_path):
    with pytest.raises(ConfigError, match=match):
        Own(input=str(recordings.colmap(tmp_path / "ball")), **options)


def test_options_about_photographs_that_are_not_there(tmp_path):
    np.savetxt(tmp_path / "a.xyz", np.random.default_rng(0).normal(size=(50, 3)))
    with pytest.raises(ConfigError, match=r"data\.every: it is about photographs"):
        Own(input=str(tmp_path / "a.xyz"), every=2)


def test_inputs_of_two_kinds(tmp_path):
    recordings.seven_scenes(tmp_path / "all/a")
    recordings.middlebury(tmp_path / "all/b")
    data = Own(input=str(tmp_path / "all"))
    data.use(Points)
    assert isinstance(data.load("a").observation, Points)
    with pytest.raises(DataError, match="b' is read as PosedViews, not as Points"):
        data.load("b")


def test_downscaled_views_keep_borders_on_borders(tmp_path):
    views = only(Own(input=str(recordings.seven_scenes(tmp_path / "ball")), downscale=2))
    assert views.images.shape[2:] == (30, 40)
    assert views.depth.shape[2:] == (30, 40)
    np.testing.assert_allclose(views.intrinsics[0].numpy(), np.diag([0.5, 0.5, 1]) @ K)
    exact = recordings.seen(recordings.poses()[0], np.diag([0.5, 0.5, 1]) @ K, (30, 40))[0]
    inner = (exact > 0).any(axis=2)
    inner &= np.roll(inner, 1, 0) & np.roll(inner, -1, 0) & np.roll(inner, 1, 1) & np.roll(inner, -1, 1)
    assert np.abs(views.images[0].numpy().transpose(1, 2, 0)[inner].astype(int) - exact[inner]).max() < 12


def test_sizes_that_differ(tmp_path):
    folder = recordings.middlebury(tmp_path / "ball")
    large = Image.open(folder / "000.png").resize((160, 120), Image.Resampling.NEAREST)
    large.save(folder / "000.png")
    views = only(Own(input=str(folder)))  # a list of cameras without sizes: K holds for each file's own pixels
    assert views.images.shape[2:] == SIZE
    np.testing.assert_allclose(views.intrinsics[0].numpy(), np.diag([0.5, 0.5, 1]) @ K)
    np.testing.assert_allclose(views.intrinsics[1].numpy(), K)
    large.crop((0, 0, 70, 120)).save(folder / "000.png")
    views = only(Own(input=str(folder)))
    assert views.images.shape[2:] == (120, 80)
    np.testing.assert_allclose(views.intrinsics.numpy(), np.broadcast_to(K, (VIEWS, 3, 3)))
    assert views.mask[0, 0, :, :70].eq(255).all()
    assert views.mask[0, 0, :, 70:].eq(0).all()
    assert views.mask[1, 0, :60].eq(255).all()
    assert views.mask[1, 0, 60:].eq(0).all()


def test_an_image_of_another_shape_than_its_camera(tmp_path):
    folder = recordings.colmap(tmp_path / "ball")
    write_png(folder / "images/002.png", np.zeros((80, 60, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"002\.png.*60 x 80 pixels.*80 x 60"):
        only(Own(input=str(folder)))


def test_a_distorted_lens_is_made_a_pinhole(tmp_path):
    """Pixels of a made-up lens show where their rays go; undistorted, the pictures are those of the pinhole."""
    lens = np.array([-0.25, 0.08, 0.002, -0.003, 0, 0, 0, 0])
    names = ["k1", "k2", "p1", "p2"]
    folder = recordings.transforms(tmp_path / "ball", alpha=False, **dict(zip(names, lens[:4].tolist(), strict=True)))
    fine = np.diag([4.0, 4.0, 1]) @ K
    v, u = np.mgrid[: SIZE[0] * 4, : SIZE[1] * 4] + 0.5
    where = np.floor(sampled(K, fine, lens, np.stack([u, v], axis=-1))).astype(int)
    for i, pose in enumerate(recordings.poses()):
        dense, _ = recordings.seen(pose, fine, (SIZE[0] * 4, SIZE[1] * 4))
        total, count = np.zeros((*SIZE, 3)), np.zeros((*SIZE, 1))
        ok = ((where >= 0) & (where < (SIZE[1], SIZE[0]))).all(axis=-1)
        np.add.at(total, (where[ok][:, 1], where[ok][:, 0]), dense[ok])
        np.add.at(count, (where[ok][:, 1], where[ok][:, 0]), 1)
        write_png(folder / f"images/{i:03d}.png", np.round(total / np.maximum(count, 1)).astype(np.uint8))
    views = only(Own(input=str(folder)))
    k = views.intrinsics[0].numpy()
    exact, depth = recordings.seen(recordings.poses()[0], k)
    inner = depth > 0
    for axis in (0, 1):
        for step in (-2, 2):
            inner &= np.roll(depth > 0, step, axis)
    error = np.abs(views.images[0].numpy().transpose(1, 2, 0)[inner].astype(int) - exact[inner])
    assert inner.sum() > 500
    assert error.mean() < 2.5
    assert (
        np.abs(
            recordings.seen(recordings.poses()[0])[0][inner].astype(int)
            - np.asarray(Image.open(folder / "images/000.png"))[inner]
        ).mean()
        > 1.5 * error.mean()
    )


def test_photographs_without_cameras(tmp_path):
    recordings.write_images(tmp_path / "photos", alpha=True)
    data = Own(input=str(tmp_path / "photos"), max_views=4)
    assert data.gives == (Views,)
    views = only(data)
    assert type(views) is Views
    assert views.images.shape == (4, 3, *SIZE)
    assert views.mask.shape == (4, 1, *SIZE)
    assert only(Own(input=str(tmp_path / "photos/003.png"))).view_names == ("003",)


def test_folders_of_recordings_and_lists_of_them(tmp_path):
    recordings.colmap(tmp_path / "all/a")
    recordings.seven_scenes(tmp_path / "all/b")
    recordings.write_images(tmp_path / "c")
    data = Own(input=str(tmp_path / "all"))
    assert data.names() == ["a", "b"]
    assert [type(data.load(n).observation) for n in "ab"] == [PosedViews, PosedRGBD]
    assert Own(input=f"{tmp_path}/all/*").names() == ["a", "b"]
    (tmp_path / "list.txt").write_text("all/b\nc\n")
    assert Own(input=f"@{tmp_path}/list.txt").names() == ["b", "c"]
    file = recordings.transforms(tmp_path / "d") / "transforms.json"
    assert type(only(Own(input=str(file)))) is PosedViews


def test_cameras_that_look_apart_leave_the_region_open(tmp_path, caplog):
    folder = recordings.transforms(tmp_path / "ball", alpha=False)
    document = json.loads((folder / "transforms.json").read_text())
    for frame in document["frames"]:
        matrix = np.array(frame["transform_matrix"])
        frame["transform_matrix"] = (matrix @ np.diag([-1, 1, -1, 1])).tolist()  # turned about: they look outward
    (folder / "transforms.json").write_text(json.dumps(document))
    views = only(Own(input=str(folder)))
    assert views.region is None
    assert "data.center=[x,y,z]" in caplog.text
    with pytest.raises(DataError, match=r"data\.center"):
        views.normalized()


def test_real_middlebury_silhouettes_have_a_hull_inside_the_box_it_tells(data_dir):
    from scipy import ndimage

    from recon.geometry.region import carved, from_masks

    data = Own(input=str(data_dir / "middlebury_dinoSparseRing"))
    views = only(data)
    assert views.images.shape == (16, 3, 480, 640)
    # The README's recipe for silhouettes.
    masks = [ndimage.binary_dilation(image.max(dim=0).values.numpy() > 0.19, iterations=10) for image in views.rgb]
    masks = np.stack([ndimage.binary_erosion(mask, iterations=7) for mask in masks])
    k, poses = views.intrinsics.numpy(), views.poses.numpy()
    region = from_masks(masks[:, ::4, ::4], np.diag([0.25, 0.25, 1]) @ k, poses)
    assert np.linalg.norm(region.translation - views.region.translation) < 0.015
    assert 0.8 < region.scale / views.region.scale < 1.2
    line = np.linspace(-1, 1, 40)
    grid = np.stack(np.meshgrid(line, line, line), axis=-1).reshape(-1, 3) * region.scale + region.translation
    hull = grid[carved(grid, masks, k, poses)]
    covered = []
    for mask, kk, pose in zip(masks, k, poses, strict=True):
        pixels, _ = project(hull, kk, pose)
        inside = ((pixels >= 0) & (pixels < (640, 480))).all(axis=1)
        columns, rows = pixels[inside].astype(int).T
        shown = np.zeros_like(mask)
        shown[rows, columns] = True
        shown = ndimage.binary_closing(shown, iterations=12)
        covered.append((shown & mask).sum() / mask.sum())
    assert np.median(covered) > 0.75
