"""`prepare data=dtu`: what the factory writes, the reader sees, to the pixel."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from recon.data import dtu as reading
from recon.data.synthesis.dtu import DTU
from recon.data.synthesis.mvr import LAMP_DISTANCE
from recon.errors import ConfigError, DataError
from recon.geometry.cameras import pixel_centres, project, rays
from recon.geometry.raycast import RayCaster
from recon.io.cameras import read_data_dict
from recon.io.clouds import write_cloud
from recon.io.images import read_image
from recon.io.meshes import read_mesh, write_mesh
from recon.io.types import Cloud, Mesh


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A bent thing without symmetry, far from the origin, in a unit of its own."""
    parts = [
        trimesh.creation.icosphere(3),
        trimesh.creation.box((0.5, 2.4, 0.4)),
        trimesh.creation.box((2.6, 0.3, 0.3)),
    ]
    parts[1].apply_translation((0.6, 0.5, 0.3))
    parts[2].apply_translation((0.4, -0.5, 0.6))
    whole = trimesh.util.concatenate(parts)
    path = tmp_path / "source" / "thing.ply"
    path.parent.mkdir()
    write_mesh(path, Mesh(30 * np.asarray(whole.vertices) + [100, -40, 250], np.asarray(whole.faces)))
    return path


def silhouette_error(scene_views, mesh: Mesh, shift: float = 0.0) -> float:
    """The share of the object's pixels in which masks differ from what rays through pixels' centres meet."""
    caster, wrong, inside = RayCaster(mesh), 0, 0
    for mask, k, pose in zip(scene_views.mask, scene_views.intrinsics, scene_views.poses, strict=True):
        pixels = pixel_centres(*mask.shape[1:]).reshape(-1, 2) + shift
        hit = caster.first_hit(*rays(pixels, k.numpy(), pose.numpy())).hit
        seen = mask.numpy().ravel() > 127
        wrong, inside = wrong + (hit != seen).sum(), inside + hit.sum()
    return wrong / inside


@pytest.mark.parametrize("kind", ["idr", "mvr"])
def test_reader_sees_what_was_rendered(kind: str, source: Path, tmp_path: Path) -> None:
    made, rejected = DTU(
        source=str(source), path=str(tmp_path / "out"), kind=kind, views=6, size=[60, 80], workers=0
    ).run()
    assert not rejected
    assert made[0].thumbnail is not None
    reader = reading.DTU(path=str(tmp_path / "out"))
    scene = reader.load("thing")
    views, mesh = scene.observation.validated(), scene.target.surface
    assert views.images.shape == (6, 3, 60, 80)
    # Masks are decided by half of a pixel's samples, rays by its centre: borders differ a little, and half a pixel
    # aside they differ by far more.
    assert silhouette_error(views, mesh) < 0.025
    assert silhouette_error(views, mesh, 0.5) > 1.5 * silhouette_error(views, mesh)
    local = views.region.to_local(mesh.vertices)
    assert 0.85 < np.linalg.norm(local, axis=1).max() <= 1 + 1e-6


def test_idr_keeps_the_objects_own_coordinates(source: Path, tmp_path: Path) -> None:
    DTU(source=str(source), path=str(tmp_path / "out"), views=5, size=[40, 40], workers=0).run()
    scene = reading.DTU(path=str(tmp_path / "out")).load("thing")
    assert np.allclose(scene.target.surface.vertices, read_mesh(source).vertices)
    # The sphere of interest just fits into each picture, so that all of the object is seen.
    for k, pose in zip(scene.observation.intrinsics.numpy(), scene.observation.poses.numpy(), strict=True):
        pixels, depth = project(scene.target.surface.vertices, k, pose)
        assert (depth > 0).all()
        assert ((pixels > 0) & (pixels < 40)).all()


def test_mvr_has_the_published_entries_without_pickles(source: Path, tmp_path: Path) -> None:
    DTU(source=str(source), path=str(tmp_path / "out"), kind="mvr", views=8, size=[32, 32], workers=0).run()
    folder = tmp_path / "out" / "thing"
    with np.load(folder / "data_dict.npz", allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    assert arrays["camera_mat"].shape == (8, 4, 4)
    assert arrays["points"].shape == arrays["normals"].shape == arrays["colors"].shape == (20_000, 3)
    assert not list(folder.glob("*_plain.npz"))
    vertices = read_mesh(folder / "mesh.obj").vertices
    assert np.isclose(np.linalg.norm(vertices, axis=1).max(), 1)
    assert np.allclose(vertices.min(axis=0), -vertices.max(axis=0), atol=1e-6)
    rgb, alpha = read_image(folder / "image" / "000000.png")
    assert alpha is not None
    assert set(np.unique(alpha)) <= {0, 255}
    assert not rgb[alpha == 0].any()


def test_mvr_cameras_come_nearer_and_lamps_stay_with_them(source: Path, tmp_path: Path) -> None:
    DTU(source=str(source), path=str(tmp_path / "out"), kind="mvr", views=12, size=[16, 16], workers=0).run()
    views = reading.DTU(path=str(tmp_path / "out")).load("thing").observation
    poses = views.poses.numpy()
    distance = np.linalg.norm(poses[:, :3, 3], axis=1)
    assert (np.diff(distance) < 0.2).all()
    assert 1.1 < distance.min() < distance.max() < 2.3
    lamps = []
    for pose, lights in zip(poses, read_data_dict(tmp_path / "out" / "thing" / "data_dict.npz").lights, strict=True):
        assert lights.kind == "point"
        centre = np.linalg.norm(pose[:3, 3]) * pose[:3, 2]
        lamps.append((lights.place - pose[:3, 3] - centre) @ pose[:3, :3])
        assert np.allclose(np.linalg.norm(lamps[-1], axis=1), LAMP_DISTANCE, atol=0.05)
    assert np.ptp(lamps, axis=0).max() < 0.1


def test_mvr_in_dvrs_cameras_is_the_same(source: Path, tmp_path: Path) -> None:
    DTU(source=str(source), path=str(tmp_path / "out"), kind="mvr", views=3, size=[24, 24], workers=0).run()
    ours, dvr = (
        reading.DTU(path=str(tmp_path / "out"), layout=layout).load("thing").observation for layout in ("mvr", "dvr")
    )
    assert np.allclose(ours.intrinsics, dvr.intrinsics, atol=1e-6)
    assert np.allclose(ours.poses, dvr.poses, atol=1e-9)


def test_same_seed_same_bytes_and_nothing_is_made_twice(source: Path, tmp_path: Path) -> None:
    def run(name: str, seed: int = 0) -> dict[str, bytes]:
        DTU(
            source=str(source), path=str(tmp_path / name), kind="mvr", views=2, size=[16, 16], workers=0, seed=seed
        ).run()
        return {f.name: f.read_bytes() for f in (tmp_path / name / "thing" / "image").iterdir()}

    first = run("a")
    assert first == run("b")
    assert first != run("c", seed=1)
    before = (tmp_path / "a" / "thing" / "mesh.obj").stat().st_mtime_ns
    assert run("a") == first
    assert (tmp_path / "a" / "thing" / "mesh.obj").stat().st_mtime_ns == before


def test_objects_of_one_name_get_folders_of_their_own(source: Path, tmp_path: Path) -> None:
    for group in ("one", "two"):
        (tmp_path / "many" / group).mkdir(parents=True)
        (tmp_path / "many" / group / "thing.ply").write_bytes(source.read_bytes())
    factory = DTU(source=str(tmp_path / "many"), path=str(tmp_path / "out"), views=1, size=[8, 8], workers=0)
    assert [item.name for item in factory.items()] == ["one_thing", "two_thing"]


def test_a_point_cloud_is_rejected_and_says_so(tmp_path: Path) -> None:
    write_cloud(tmp_path / "cloud.ply", Cloud(np.eye(3)))
    with pytest.raises(DataError, match="points"):
        DTU(source=str(tmp_path / "cloud.ply"), path=str(tmp_path / "out"), views=1, size=[8, 8], workers=0).run()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distance": 0.5}, "inside"),
        ({"distance": [2.0, 3.0]}, "one distance"),
        ({"views": 0}, "no pictures"),
        ({"size": [4, 4]}, "no pictures"),
        ({"kind": "nerf"}, "no such kind"),
        ({"kind": "mvr", "fov": 200.0}, "fov=200.0"),
    ],
)
def test_impossible_options(options: dict, message: str, source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        DTU(source=str(source), path=str(tmp_path / "out"), workers=0, **options).run()


def test_idr_cameras_stand_about_the_axis_that_points_up(source: Path, tmp_path: Path) -> None:
    eyes = {}
    for up in ("y", "z"):
        DTU(source=str(source), path=str(tmp_path / up), views=9, size=[16, 16], up=up, workers=0).run()
        views = reading.DTU(path=str(tmp_path / up)).load("thing").observation
        eyes[up] = views.region.to_local(views.poses[:, :3, 3].numpy())
    assert eyes["y"][:, 1].min() > 3 * np.sin(np.radians(-11))
    assert eyes["y"][:, 1].mean() > 1
    assert np.allclose(eyes["z"][:, 2], eyes["y"][:, 1])
    assert np.allclose(np.linalg.norm(eyes["z"], axis=1), 3)


def test_objects_without_colours_get_a_pattern_and_others_keep_theirs(source: Path, tmp_path: Path) -> None:
    mesh = read_mesh(source)
    write_mesh(
        tmp_path / "red.ply", Mesh(mesh.vertices, mesh.faces, colors=np.tile([200, 0, 0], (len(mesh.vertices), 1)))
    )

    def picture(name: str, file: Path, **options: bool) -> np.ndarray:
        factory = DTU(source=str(file), path=str(tmp_path / name), views=1, size=[60, 60], workers=0, **options)
        folder = tmp_path / name / factory.items()[0].folder
        factory.run()
        rgb, mask = (read_image(folder / what / "000000.png")[0] for what in ("image", "mask"))
        return rgb[mask[..., 0] > 0].astype(float)

    plain, painted, red = picture("a", source, paint=False), picture("b", source), picture("c", tmp_path / "red.ply")
    hue = [(p / p.sum(axis=1, keepdims=True)).std(axis=0).max() for p in (plain, painted)]
    assert hue[1] > 5 * hue[0]
    assert red[:, 0].mean() > 4 * red[:, 1].mean()
