"""Items of views and voxels a second, against a plain reader of the kind the originals have.

The plain reader opens each view with Pillow, paints the background in floats, crops, flips and scales; it unrolls the
voxels and makes the two channels of the label. Both read the same files, from the page cache: rendered views of
137 x 137 pixels, 5 an item.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from recon.data.loading import Draw
from recon.data.renderings import Renderings
from recon.data.shapenet import ShapeNet
from recon.data.synthesis.render import Renderer
from recon.data.synthesis.textures import Textured
from recon.geometry.voxelize import voxelize
from recon.io.binvox import Binvox, write_binvox
from recon.io.images import write_png
from recon.io.renderings import SIDE, VIEWS, Viewpoint, intrinsics
from recon.io.types import Mesh
from recon.observations import Views, Voxels

ITEMS = 64
SEEN = 5


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("views")
    ring = trimesh.creation.torus(0.35, 0.12, major_sections=96, minor_sections=48)
    colors = (128 + 127 * np.sin(40 * ring.vertices)).astype(np.uint8)
    mesh = Mesh(np.asarray(ring.vertices), np.asarray(ring.faces), None, colors)
    first = root / "ShapeNetRendering/03001627/0000/rendering"
    renderer = Renderer(Textured.plain(mesh))
    for number in range(VIEWS):
        rgb, alpha = renderer.picture(intrinsics(), Viewpoint(15 * number, 27).pose(), (SIDE, SIDE))
        write_png(first / f"{number:02d}.png", np.dstack([rgb, alpha]))
    write_binvox(root / "ShapeNetVox32/03001627/0000/model.binvox", Binvox(voxelize(mesh), np.full(3, -0.5)))
    for number in range(1, ITEMS):
        for tree in ("ShapeNetRendering", "ShapeNetVox32"):
            shutil.copytree(root / tree / "03001627/0000", root / tree / f"03001627/{number:04d}")
    return root


def plain_view(file: Path, random: np.random.RandomState, crop: int = 127) -> np.ndarray:
    image = np.array(Image.open(file))
    colour = np.array([[[random.randint(225, 256) for _ in range(3)]]])
    empty = (np.expand_dims(image[:, :, 3], axis=2) == 0).astype(np.float64)
    image = empty * colour + (1 - empty) * image[:, :, :3]
    row, column = random.randint(0, image.shape[0] - crop), random.randint(0, image.shape[1] - crop)
    image = image.astype(np.float32)[row : row + crop, column : column + crop]
    if random.rand() > 0.5:
        image = image[:, ::-1]
    return (image / 255.0).transpose(2, 0, 1)


def plain(root: Path, name: str, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """An item as the originals' readers make it."""
    folder = root / "ShapeNetRendering" / name / "rendering"
    files = [line.strip() for line in (folder / "renderings.txt").read_text().splitlines()]
    views = np.zeros((SEEN, 3, 127, 127), dtype=np.float32)
    for number, chosen in enumerate(random.randint(0, len(files), SEEN)):
        views[number] = plain_view(folder / files[chosen], random)
    with (root / "ShapeNetVox32" / name / "model.binvox").open("rb") as stream:
        stream.readline()
        dims = [int(word) for word in stream.readline().split()[1:]]
        while stream.readline().strip() != b"data":
            pass
        runs = np.frombuffer(stream.read(), dtype=np.uint8)
    grid = np.transpose(np.repeat(runs[::2], runs[1::2]).astype(bool).reshape(dims), (0, 2, 1))
    label = np.zeros((2, *dims), dtype=np.float32)
    label[0], label[1] = grid < 1, grid
    return views, label


def test_item_against_a_plain_reader(root: Path, compare: Callable[..., object]) -> None:
    data = Renderings(
        root / "ShapeNetRendering", root / "ShapeNetVox32", split="ratio", views=SEEN, min_views=SEEN, replacement=True
    )
    names = [f"03001627/{number:04d}" for number in range(ITEMS)]
    for name in names:
        listed = "".join(f"{number:02d}.png\n" for number in range(VIEWS))
        (root / "ShapeNetRendering" / name / "rendering" / "renderings.txt").write_text(listed)
    random = np.random.RandomState(0)

    def ours() -> None:
        for row, name in enumerate(names):
            data.item(name, "train", Draw(0, 0, row))

    def theirs() -> None:
        for name in names:
            plain(root, name, random)

    timing = compare(ours, theirs, rounds=5)
    print(f"\n{ITEMS / timing.ours:.0f} items a CPU second, the plain reader {ITEMS / timing.reference:.0f}")
    assert timing.ratio > 1.3  # decoding png is half of ours, and the same in both


@pytest.mark.parametrize("workers", [0, 2])
def test_items_a_second(root: Path, workers: int, capsys: pytest.CaptureFixture[str]) -> None:
    """In batches, as a training step gets them; wall time, for workers run beside it."""
    data = ShapeNet(path=str(root), min_views=SEEN, views=SEEN, batch_size=16, workers=workers)
    data.use(Views, Voxels)
    loader = data.train_dataloader()
    for _ in loader:  # workers start, files get into the page cache
        pass
    began, count = time.perf_counter(), 0
    for batch in loader:
        assert batch.observation.images.shape == (16, SEEN, 3, 127, 127)
        assert batch.target.grid.shape == (16, 32, 32, 32)
        count += 16
    rate = count / (time.perf_counter() - began)
    with capsys.disabled():
        print(f"\n{workers} workers: {rate:.0f} items a second")
    # The fastest step of 3D-R2N2 that was ever timed on such a machine takes less than one item a second.
    assert rate > 20
