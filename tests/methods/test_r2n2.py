"""3D-R2N2 as a method: training, scores of every number of views, photographs of any kind, files of voxels."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from recon.cli import main
from recon.data.loading import Batch
from recon.data.solids import solid_mesh
from recon.errors import ConfigError, TrainingError
from recon.geometry.frames import Frame
from recon.geometry.silhouette import frame_of, subject_of
from recon.geometry.voxel_surface import VoxelSurface, write_voxels
from recon.io.binvox import read_binvox
from recon.io.meshes import read_mesh, write_mesh
from recon.methods.photographs import BACKGROUND, EXTENT, Appearance, Framing, traits
from recon.methods.r2n2 import R2N2
from recon.methods.schedules import falling
from recon.metrics.topology import watertight
from recon.nets.r2n2_original import write_original
from recon.nets.r2n2_weights import write_torch
from recon.observations import Views, Voxels

SMALL = {"encoder": (4, 4, 6, 6, 6, 6), "feature": 16, "hidden": 4}
RADIUS = 0.35
WORDS = ["tiny=r2n2", "trainer=cpu", "report=false", "logger=none", "callbacks=none"]


pytestmark = pytest.mark.filterwarnings("ignore:You are trying to .self.log")


@pytest.fixture
def method() -> R2N2:
    return R2N2(**SMALL).eval()


def batch(views: int = 2, items: int = 2, side: int = 128, category: tuple[str, ...] = ("a", "b")) -> Batch:
    images = torch.rand(items, views, 3, side, side)
    grid = torch.zeros(items, 32, 32, 32)
    grid[:, 8:24, 8:24, 8:24] = 1
    return Batch(Views(images), Voxels(grid), torch.arange(items), category=category)


def photograph(shape: tuple[int, int] = (300, 400), noise: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    """A red plate on legs before a background that darkens to one side; and where it is."""
    height, width = shape
    rng = np.random.default_rng(0)
    picture = np.linspace(0.95, 0.8, width)[None, :, None] * np.ones((height, 1, 3))
    mask = np.zeros(shape, dtype=bool)
    mask[100:130, 120:240] = mask[130:220, 125:135] = mask[130:220, 225:235] = True
    picture[mask] = (0.6, 0.2, 0.2)
    return np.clip(picture + rng.normal(0, noise, picture.shape), 0, 1), mask


# training


def test_weight_decay_spares_biases_and_follows_the_family() -> None:
    for options, wanted in (({}, 5e-5), ({"compat": "released"}, 0.0), ({"weight_decay": 0.1}, 0.1)):
        decayed, plain = R2N2(**SMALL, **options).configure_optimizers()["optimizer"].param_groups
        assert (decayed["weight_decay"], plain["weight_decay"]) == (wanted, 0.0)
        assert all(p.ndim == 1 for p in plain["params"])
        assert all(p.ndim > 1 for p in decayed["params"])
    assert R2N2(family="original", compat="released", **SMALL).weight_decay == 5e-5


def test_rates_fall_as_published() -> None:
    torch_port = [falling(epoch - 1, 1e-4, (2, 9, 19, 49), 0.5) for epoch in (1, 2, 3, 9, 10, 19, 20, 49, 50, 60)]
    np.testing.assert_allclose(torch_port, np.repeat([1e-4, 5e-5, 2.5e-5, 1.25e-5, 6.25e-6], 2))
    original = [falling(step, 1e-4, (20000, 60000), 0.1) for step in (0, 19999, 20000, 59999, 60000)]
    np.testing.assert_allclose(original, [1e-4, 1e-4, 1e-5, 1e-5, 1e-6])


def test_a_step_trains_every_parameter(method) -> None:
    for views in (1, 3):
        method.zero_grad()
        method.training_step(batch(views), 0).backward()
        assert all(p.grad is not None for p in method.parameters())


def test_training_learns_a_cube(method) -> None:
    data, losses = batch(2), []
    adam = torch.optim.Adam(method.parameters(), lr=1e-2)
    for _ in range(25):
        loss = method.training_step(data, 0)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_signals_of_images_survive_with_he_weights() -> None:
    """Features of two images differ by a share of their size; with PyTorch's own weights by almost nothing."""
    images = torch.full((2, 1, 3, 128, 128), 0.94)
    images[0, ..., 30:90, 30:90], images[1, ..., 50:120, 20:60] = 0.2, 0.5
    apart = {}
    for init in ("family", "he"):
        torch.manual_seed(0)
        features = R2N2(encoder=(8, 12, 16, 24, 24, 24), feature=40, hidden=4, init=init).net.encode(images)[:, 0]
        apart[init] = float((features[0] - features[1]).norm() / features.norm())
    assert apart["he"] > 0.1
    assert apart["he"] > 5 * apart["family"]


def test_divergence_is_told() -> None:
    method = R2N2(**SMALL, max_loss=0.1)
    with pytest.raises(TrainingError, match=r"max_loss=0\.1"):
        method.training_step(batch(), 0)
    broken = R2N2(**SMALL)
    torch.nn.init.constant_(broken.net.encoder.fc.bias, float("nan"))
    with pytest.raises(TrainingError, match="nan"):
        broken.training_step(batch(), 0)


def test_sizes_that_do_not_fit_are_told(method) -> None:
    with pytest.raises(ConfigError, match=r"data\.crop=128"):
        method.training_step(batch(side=127), 0)
    with pytest.raises(ConfigError, match=r"method\.resolution=32"):
        R2N2(**SMALL, resolution=64).training_step(batch(), 0)


def test_the_ports_leak_is_off_unless_asked_for(method) -> None:
    images = torch.rand(2, 2, 3, 128, 128)
    assert torch.equal(method._predicted(images), method._predicted(images))
    leaking = R2N2(**SMALL, carry_state=True)
    leaking.load_state_dict(method.state_dict())
    torch.testing.assert_close(leaking._predicted(images), method._predicted(images))
    whole = method._predicted(torch.cat([images, images], dim=1))
    torch.testing.assert_close(leaking._predicted(images), whole, rtol=0, atol=1e-5)


def test_validation_scores_every_number_of_views_by_class(method, monkeypatch) -> None:
    logged: dict[str, float] = {}
    monkeypatch.setattr(method, "log_dict", lambda values, **_: logged.update(values))
    method.validation_step(batch(3, 2), 0)
    method.validation_step(batch(3, 1, category=("b",)), 1)
    rows = list(method._scores.rows)
    method.on_validation_epoch_end()
    for n in (1, 2, 3):
        assert logged[f"val/iou_views{n}"] == pytest.approx(np.mean([row[f"iou_views{n}"] for _, row in rows]))
    assert logged["val/iou"] == logged["val/iou_views3"]
    assert logged["val/iou/class_mean"] == pytest.approx((logged["val/iou/a"] + logged["val/iou/b"]) / 2)
    best = max(method.sweep, key=lambda t: np.mean([row[f"iou_views3@{t:g}"] for _, row in rows]))
    assert logged["val/best_threshold"] == pytest.approx(best)
    assert method.level == 0.4
    method.threshold = None
    assert method.level == pytest.approx(best)


# weights


@pytest.mark.parametrize("merged", [False, True])
def test_weights_of_the_port(tmp_path, merged) -> None:
    theirs = R2N2(**SMALL)
    files = write_torch(tmp_path, theirs.net)
    place: Path = tmp_path if not merged else files[0]
    ours = R2N2.from_weights(place, cell="gru", threshold=0.3)  # the file tells the cell
    images = torch.rand(1, 2, 3, 128, 128)
    assert torch.equal(ours.net(images)[0], theirs.net(images)[0])
    assert ours.level == 0.3
    assert ours.framing().background == 0


@pytest.mark.parametrize(("cell", "residual"), [("lstm", False), ("gru", True)])
def test_weights_of_the_authors(tmp_path, cell, residual) -> None:
    theirs = R2N2(family="original", cell=cell, residual=residual, **SMALL)
    write_original(tmp_path / "weights.npy", theirs.net)
    ours = R2N2.from_weights(tmp_path / "weights.npy", cell=cell)
    images = torch.rand(1, 2, 3, 127, 127)
    assert torch.equal(ours.net(images)[0], theirs.net(images)[0])
    assert ours.framing().background == pytest.approx(240 / 255)


# voxels


def ball(views: int = 2) -> VoxelSurface:
    axis = (np.arange(32) + 0.5) / 32 - 0.5
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    radius = np.sqrt((x - 0.05) ** 2 + (y / 0.8) ** 2 + (z / 1.2) ** 2)
    growth = torch.from_numpy(20 * (RADIUS - radius) + np.log(0.4 / 0.6)).float().expand(views, -1, -1, -1)
    return VoxelSurface.of(growth, torch.rand(views, 3, 8, 8), 0.4, Frame(2.0, translation=np.array([5.0, 6.0, 7.0])))


@pytest.mark.parametrize("extraction", ["auto", "voxels", "mise"])
def test_voxels_are_meshed_where_they_are(extraction) -> None:
    mesh = ball().mesh(extraction=extraction, resolution=64).mesh
    assert watertight(mesh)
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    np.testing.assert_allclose((low + high) / 2, [5.1, 6, 7], atol=0.03)
    np.testing.assert_allclose(high - low, 4 * RADIUS * np.array([1, 0.8, 1.2]), atol=0.15)
    volume = (
        np.einsum(
            "fi,fi->f",
            *(mesh.vertices[mesh.faces[:, 0]], np.cross(*mesh.vertices[mesh.faces[:, 1:]].transpose(1, 0, 2))),
        ).sum()
        / 6
    )
    assert volume == pytest.approx(4 / 3 * np.pi * (2 * RADIUS) ** 3 * 0.8 * 1.2, rel=0.04)


def test_marching_goes_through_the_centres_of_voxels() -> None:
    """Vertices lie on edges between centres, where the straight line between two probabilities meets the threshold."""
    surface = ball()
    places = (surface.frame.to_local(surface.mesh().mesh.vertices) + 0.5) * 32 - 0.5
    assert ((np.abs(places - places.round()) < 1e-3).sum(axis=1) >= 2).all()
    values = surface.field(torch.from_numpy((places + 0.5) / 32 - 0.5).float())
    np.testing.assert_allclose(values, 0.4, atol=1e-4)


def test_a_full_grid_is_closed() -> None:
    full = VoxelSurface.of(torch.full((1, 8, 8, 8), 9.0), torch.zeros(1, 3, 4, 4), 0.4, Frame())
    for extraction in ("auto", "voxels"):
        found = full.mesh(extraction=extraction)
        assert watertight(found.mesh)
        assert not found.cut


def test_cubes_are_the_originals() -> None:
    surface = ball()
    mesh = surface.mesh(extraction="cubes").mesh
    assert len(mesh.faces) % 12 == 0
    np.testing.assert_allclose(np.ptp(mesh.vertices[:8], axis=0), 0.01)


def test_files_of_voxels(tmp_path) -> None:
    surface = ball()
    write_voxels(tmp_path / "a.binvox", surface)
    write_voxels(tmp_path / "a.npz", surface)
    kept = read_binvox(tmp_path / "a.binvox")
    np.testing.assert_array_equal(kept.grid, surface.occupied)
    centres = kept.translate + kept.scale * (np.argwhere(kept.grid) + 0.5) / 32
    np.testing.assert_allclose((centres.min(axis=0) + centres.max(axis=0)) / 2, [5.1, 6, 7], atol=0.07)
    with np.load(tmp_path / "a.npz") as data:
        np.testing.assert_array_equal(data["probability"] >= np.float32(data["threshold"]), kept.grid)
        np.testing.assert_allclose(data["translate"], kept.translate)


# photographs


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.02])
def test_a_subject_is_found_before_a_plain_background(noise) -> None:
    picture, mask = photograph(noise=noise)
    found = subject_of(picture)
    assert found is not None
    assert (found & mask).sum() / (found | mask).sum() > 0.95


def test_no_subject_before_clutter(rng) -> None:
    assert subject_of(rng.random((200, 200, 3))) is None
    assert subject_of(np.full((50, 60, 3), 0.7)) is None


def test_the_frame_holds_the_subject_in_its_middle() -> None:
    mask = np.zeros((100, 200), dtype=bool)
    mask[10:30, 100:160] = True
    mask[90, 5] = True  # a stray pixel moves nothing
    assert frame_of(mask, 0.6) == (-30, 80, 100)


def as_views(picture: np.ndarray, mask: np.ndarray | None = None) -> Views:
    images = torch.from_numpy((255 * picture).round().astype(np.uint8)).permute(2, 0, 1)[None]
    return Views(images, None if mask is None else torch.from_numpy(mask)[None, None].float(), view_names=("one",))


@pytest.mark.parametrize("kind", ["mask", "plain", "padded"])
def test_photographs_are_framed_alike_however_the_subject_is_known(kind) -> None:
    picture, mask = photograph()
    if kind == "padded":
        views = as_views(np.pad(picture, ((0, 50), (0, 0), (0, 0))), np.pad(np.ones_like(mask), ((0, 50), (0, 0))))
    else:
        views = as_views(picture, mask if kind == "mask" else None)
    images, warnings = Framing(127, 240 / 255, 0.6).prepared(views)
    assert images.shape == (1, 3, 127, 127)
    assert not warnings
    red = (images[0, 0] - images[0, 1] > 0.2).numpy()
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == pytest.approx(0.6 * 127, abs=3)
    assert rows.mean() == pytest.approx(63, abs=2)
    np.testing.assert_allclose(images[0, :, :5, :5], 240 / 255, atol=0.01)


def test_what_is_odd_about_photographs_is_told(rng) -> None:
    picture, mask = photograph()
    framing = Framing(127, 240 / 255, 0.6)
    assert "no plain background" in framing.prepared(as_views(rng.random((90, 130, 3))))[1][0]
    cut = framing.prepared(as_views(picture[:, 150:], mask[:, 150:]))[1]
    assert any("reaches the edge" in text for text in cut)
    small = framing.prepared(as_views(picture[::8, ::8], mask[::8, ::8]))[1]
    assert any("small" in text for text in small)


def test_appearance_is_that_of_all_images() -> None:
    images = torch.rand(12, 3, 32, 32)
    appearance = Appearance()
    for piece in images.split([5, 1, 6]):
        appearance.update(piece)
    told = traits(images).double()
    torch.testing.assert_close(appearance.mean, told.mean(dim=0))
    torch.testing.assert_close((appearance.squares / 12).sqrt(), told.std(dim=0, correction=0))


def test_photographs_unlike_the_training_are_told(method) -> None:
    picture = torch.full((1, 1, 3, 128, 128), 0.9)
    picture[..., 30:100, 40:90] = torch.tensor([0.6, 0.4, 0.3])[:, None, None]
    seen = (picture + 0.01 * torch.rand(4, 1, 3, 128, 128)).flatten(0, 1)
    method.appearance.update(seen)
    assert method.framing().background == pytest.approx(0.905, abs=0.01)
    assert method.framing().extent == pytest.approx(70 / 128, abs=0.02)
    assert not method.appearance.unlike(seen[0])
    night = method.appearance.unlike(1 - seen[0])
    assert any("brightness" in text for text in night)
    assert Appearance().unlike(seen[0]) == []
    assert (BACKGROUND, EXTENT) == (4, 6)


# the command line


@pytest.fixture
def trained(workdir) -> str:
    shapes = ["data=shapes", "data.families=[mug]", "data.train_scenes=2", "data.val_scenes=1", "data.test_scenes=1"]
    words = ["train", "method=r2n2", *WORDS, *shapes, "data.resolution=48", "trainer.max_steps=2"]
    assert main([*words, "hydra.run.dir=run"]) == 0
    return "run=run"


def test_photographs_to_files(trained, capsys) -> None:
    Path("photos").mkdir()
    picture, _ = photograph()
    first = Image.fromarray((255 * picture).astype(np.uint8))
    turned = first.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    first.save("photos/a.jpg", quality=95)
    turned.save("photos/b.jpg", quality=95, exif=exif)
    first.resize((200, 260)).save("photos/c.jpg", quality=95)  # another shape: padded, then framed alike
    base = ["reconstruct", trained, "input=photos/*.jpg", "trainer=cpu"]
    assert main([*base, "output=out/chair.binvox", "report=true"]) == 0
    grid = read_binvox("out/chair.binvox").grid
    assert grid.shape == (32, 32, 32)
    assert main([*base, "output=out/chair.npz", "report=false"]) == 0
    with np.load("out/chair.npz") as data:
        np.testing.assert_array_equal(data["occupied"], grid)
    assert main([*base, "output=out/chair.obj", "mesh.extraction=voxels", "report=false"]) == 0
    assert len(read_mesh("out/chair.obj").faces) > 0
    assert "views and voxels" in Path("run/report.html").read_text(encoding="utf-8")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save("photos/d.png")
    assert main([*base[:2], "input=photos/d.png", "trainer=cpu", "report=false"]) == 0
    assert "no plain background" in capsys.readouterr().err


def test_masks_of_photographs(trained) -> None:
    Path("photos").mkdir()
    Path("masks").mkdir()
    picture, mask = photograph(noise=0.2)
    Image.fromarray((255 * picture).astype(np.uint8)).save("photos/a.png")
    Image.fromarray(mask).save("masks/a.png")
    base = ["reconstruct", trained, "input=photos", "report=false", "trainer=cpu"]
    assert main([*base, "data.masks=masks", "output=a.npz"]) == 0
    assert main([*base, "data.masks=nowhere"]) == 2


def test_only_methods_of_voxels_write_voxels(workdir, capsys) -> None:
    np.savetxt("scan.xyz", np.random.default_rng(0).normal(size=(50, 3)))
    assert main(["reconstruct", "method=poisson", "input=scan.xyz", "output=a.binvox"]) == 2
    assert "no mesh format" in capsys.readouterr().err
    assert main(["reconstruct", "method=poisson", "input=scan.xyz", "mesh.extraction=voxels", "report=false"]) == 2
    assert "predicts no voxels" in capsys.readouterr().err


@pytest.mark.slow
def test_factory_files_from_training_to_scores(workdir) -> None:
    """Trained on factory-made views and voxels, resumed, and tested for every number of views."""
    for number in range(3):
        write_mesh(Path("meshes") / "chair" / f"{number}.ply", solid_mesh(f"chair_00{number}", 48))
        write_mesh(Path("meshes") / "table" / f"{number}.ply", solid_mesh(f"table_00{number}", 48))
    made = ["prepare", "data=shapenet", "data.path=made", "source=meshes/*/*.ply", "kind=views", "prepare.workers=0"]
    assert main(made) == 0
    data = ["data=shapenet", "data.path=made", "data.split=ratio", "~data.most_views", "data.test_views=3"]
    words = ["method=r2n2", *WORDS, *data, "trainer.max_steps=2", "hydra.run.dir=run"]
    assert main(["train", *words]) == 0
    assert main(["train", "run=run", "trainer.max_steps=4", "report=false"]) == 0
    assert main(["test", "run=run", "report=false"]) == 0
    with open("run/metrics.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["category"] for row in rows} == {"chair", "table"}
    for row in rows:
        assert all(0 <= float(row[f"iou_views{n}"]) <= 1 for n in (1, 2, 3))
