"""3D-R2N2 against numbers recorded from the Theano original and from its PyTorch port.

Files are found by listing, and sizes, seeds and keys are read from them, so another set of the same layout serves
as well.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recon.data.images import Preparation
from recon.geometry.voxel_cubes import cubes_mesh, write_cubes
from recon.io.binvox import format_binvox, parse_binvox, read_binvox
from recon.io.images import read_image
from recon.metrics.voxels import voxel_counts, voxel_iou

ROOT = Path(os.environ.get("RECON_PARITY_DIR") or Path(__file__).parents[3] / "shared" / "parity") / "r2n2"


def _recorded(part: str, pattern: str) -> list[Any]:
    """One parameter for each key that matches, of the expected.npz of all sets: (folder, array, groups)."""
    found = []
    for file in sorted(ROOT.glob(f"*/{part}/expected.npz")):
        with np.load(file) as data:
            for key in data.files:
                match = re.fullmatch(pattern, key)
                if match:
                    found.append(pytest.param(file.parent, data[key], match.groups(), id=f"{file.parts[-3]}/{key}"))
    return found


def _dense(file: Path) -> tuple[np.ndarray, int]:
    with np.load(file.parent / "expected.npz") as data:
        side = int(data[f"{file.stem}/meta"][0])
        bits = np.unpackbits(data[f"{file.stem}/xyz"], count=side**3)
        return bits.reshape(side, side, side).astype(bool), int(data[f"{file.stem}/sum"])


@pytest.mark.parametrize(("folder", "bits", "groups"), _recorded("binvox", r"(.+)/xyz"))
def test_binvox_files_hold_the_recorded_voxels(folder: Path, bits: np.ndarray, groups: tuple[str]) -> None:
    file = folder / f"{groups[0]}.binvox"
    dense, total = _dense(file)
    voxels = read_binvox(file)
    np.testing.assert_array_equal(voxels.grid, dense)
    assert int(voxels.grid.sum()) == total
    with np.load(folder / "expected.npz") as data:
        np.testing.assert_allclose([*voxels.translate, voxels.scale], data[f"{groups[0]}/meta"][1:], rtol=1e-12)
        side = len(dense)
        raw = np.unpackbits(data[f"{groups[0]}/raw_xzy"], count=side**3).reshape(dense.shape).astype(bool)
        np.testing.assert_array_equal(voxels.grid.transpose(0, 2, 1), raw)


@pytest.mark.parametrize(("folder", "bits", "groups"), _recorded("binvox", r"(.+)/xyz"))
def test_binvox_files_are_written_as_they_were(folder: Path, bits: np.ndarray, groups: tuple[str]) -> None:
    """To the byte, but for the original's empty pairs and how it prints numbers."""
    data = (folder / f"{groups[0]}.binvox").read_bytes()
    ours = format_binvox(parse_binvox(data))
    runs = [np.frombuffer(d[d.index(b"data\n") + 5 :], dtype=np.uint8).reshape(-1, 2) for d in (ours, data)]
    np.testing.assert_array_equal(runs[0], runs[1][runs[1][:, 1] > 0])


@pytest.mark.parametrize(
    "file", [pytest.param(f, id=f"{f.parts[-3]}/{f.stem}") for f in sorted(ROOT.glob("*/binvox/*_xyz.npy"))]
)
def test_empty_pairs_are_read(file: Path) -> None:
    binvox = file.with_name(f"{file.stem.removesuffix('_xyz')}.binvox")
    np.testing.assert_array_equal(read_binvox(binvox).grid, np.load(file).astype(bool))
    data = binvox.read_bytes()
    assert 0 in data[data.index(b"data\n") + 6 :: 2]


def _close(ours: np.ndarray, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours.astype(np.float32) / np.float32(255), theirs, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("folder", "expected", "groups"), _recorded("preprocess", r"theano_train_seed(\d+)"))
def test_training_views_draw_in_the_originals_order(folder: Path, expected: np.ndarray, groups: tuple[str]) -> None:
    view = read_image(folder / "render.png")
    legacy = np.random.RandomState(int(groups[0]))  # the generator that the original used
    _close(Preparation(crop=expected.shape[-1]).train([view], legacy)[0], expected)


@pytest.mark.parametrize(("folder", "expected", "groups"), _recorded("preprocess", r"theano_test()"))
def test_test_views_of_the_original(folder: Path, expected: np.ndarray, groups: tuple[str]) -> None:
    view = read_image(folder / "render.png")
    _close(Preparation(crop=expected.shape[-1]).test([view])[0], expected)


@pytest.mark.parametrize(("folder", "expected", "groups"), _recorded("preprocess", r"torch_test_center(\d+)"))
def test_test_views_of_the_port(folder: Path, expected: np.ndarray, groups: tuple[str]) -> None:
    view = read_image(folder / "render.png")
    _close(Preparation(crop=int(groups[0]), background=None).test([view])[0], expected)


@pytest.mark.parametrize(
    "file", [pytest.param(f, id=f.parts[-3]) for f in sorted(ROOT.glob("*/preprocess/demo_images*.npz"))]
)
def test_demo_views_need_no_crop(file: Path) -> None:
    with np.load(file) as data:
        views = data[data.files[0]][:, 0]
    prepared = Preparation(crop=views.shape[-1]).test([(view.transpose(1, 2, 0), None) for view in views])
    np.testing.assert_array_equal(prepared, views)


@pytest.mark.parametrize(("folder", "expected", "groups"), _recorded("mesh", r"(.+)/verts_([01])"))
def test_cubes(folder: Path, expected: np.ndarray, groups: tuple[str, str]) -> None:
    case, surface = groups
    with np.load(folder / "expected.npz") as data:
        voxels, faces = data[f"{case}/vox"], data[f"{case}/faces_{surface}"]
    mesh = cubes_mesh(voxels, surface_only=surface == "1")
    np.testing.assert_allclose(mesh.vertices, expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(mesh.faces + 1, faces)


@pytest.mark.parametrize(
    "file", [pytest.param(f, id=f"{f.parts[-3]}/{f.stem}") for f in sorted(ROOT.glob("*/mesh/*.obj"))]
)
def test_cubes_are_written_to_the_byte(file: Path, tmp_path: Path) -> None:
    case, surface = file.stem.split("_surface")
    with np.load(file.with_name("expected.npz")) as data:
        mesh = cubes_mesh(data[f"{case}/vox"], surface_only=surface == "1")
    write_cubes(tmp_path / "ours.obj", mesh)
    assert (tmp_path / "ours.obj").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("file", [pytest.param(f, id=f"{f.parts[-2]}") for f in sorted(ROOT.glob("*/iou.npz"))])
def test_iou(file: Path) -> None:
    with np.load(file) as data:
        probability = torch.from_numpy(data["prob_occupied"])
        bits = np.unpackbits(data["gt"], count=probability.numel())
        truth = torch.from_numpy(bits.reshape(probability.shape).astype(bool))
        keys = [key for key in data.files if key.startswith("calc_mean_IOU_")]
        assert keys
        for key in keys:
            threshold = float(key.rpartition("_")[2])
            counts = voxel_counts(probability, truth, threshold).sum(dim=0)
            mean = voxel_iou(probability, truth, threshold).mean()
            np.testing.assert_array_equal(counts, data[key][:5])
            assert float(mean) == pytest.approx(data[key][5], abs=1e-7)  # theirs is of single precision
