"""Items of points and occupancies a second, against a plain reader of the kind the originals have.

The plain reader loads both archives whole, makes them float32, adds the jitter to all queries, unpacks all bits, and
then draws. Both read the same files of 100,000 points and 100,000 queries, from the page cache, stored or deflated.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recon.data.loading import Draw
from recon.data.shapenet import ShapeNet
from recon.io.onet import write_pointcloud, write_points
from recon.io.splits import write_list
from recon.observations import Occupancies, Points

ITEMS = 256  # more than a process keeps open, so that files are opened again and again, as in a real epoch
STORED = 100_000
STEP = 10.5  # machine units of the original's step on an item, in a batch of two


def deflated(file: Path) -> None:
    arrays = dict(np.load(file))
    np.savez_compressed(file, **arrays)


@pytest.fixture(scope="module", params=["stored", "deflated"])
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ShapeNet:
    rng = np.random.default_rng(0)
    root = tmp_path_factory.mktemp(request.param)
    names = [f"{number:032x}" for number in range(ITEMS)]
    for name in names:
        normals = rng.standard_normal((STORED, 3), dtype=np.float32)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        queries = rng.uniform(-0.55, 0.55, (STORED, 3))
        write_pointcloud(root / "02691156" / name / "pointcloud.npz", 0.4 * normals, normals)
        write_points(root / "02691156" / name / "points.npz", queries, np.linalg.norm(queries, axis=1) < 0.4)
        if request.param == "deflated":
            for file in (root / "02691156" / name).iterdir():
                deflated(file)
    for split in ("train", "val", "test"):
        write_list(root / "02691156" / f"{split}.lst", names)
    return ShapeNet(path=str(root), batch_size=32)


def plain(folder: Path, points: int = 3000, queries: int = 2048, noise: float = 0.005) -> tuple[np.ndarray, ...]:
    """An item as the originals' readers make it."""
    random = np.random.RandomState(0)
    with np.load(folder / "pointcloud.npz") as file:
        cloud, normals = file["points"].astype(np.float32), file["normals"].astype(np.float32)
    with np.load(folder / "points.npz") as file:
        space, bits = file["points"], file["occupancies"]
    if space.dtype == np.float16:
        space = space.astype(np.float32) + 1e-4 * random.randn(*space.shape)
    space = space.astype(np.float32)
    occupancies = np.unpackbits(bits)[: len(space)].astype(np.float32)
    rows = random.randint(len(cloud), size=points)
    seen = cloud[rows] + (noise * random.randn(points, 3)).astype(np.float32)
    wanted = random.randint(len(space), size=queries)
    return seen, normals[rows], space[wanted], occupancies[wanted]


@pytest.mark.parametrize("normals", [True, False], ids=["normals", "points"])
def test_item_against_a_plain_reader(
    data: ShapeNet, normals: bool, compare: Callable[..., Any], request: pytest.FixtureRequest
) -> None:
    data.observation = None if normals else Points
    names = list(data.names("train"))

    def ours() -> None:
        for row, name in enumerate(names):
            data.item(name, "train", Draw(0, 0, row))

    def theirs() -> None:
        for name in names:
            plain(Path(data.path, "02691156", name.removeprefix("02691156_")))

    timing = compare(ours, theirs, rounds=3)
    print(f"\n{ITEMS / timing.ours:.0f} items a CPU second, the plain reader {ITEMS / timing.reference:.0f}")
    assert timing.ratio > (3 if "stored" in request.node.name else 1.2)
    assert timing.units / ITEMS < 0.05 * STEP


@pytest.mark.parametrize("workers", [0, 2])
def test_items_a_second(data: ShapeNet, workers: int, capsys: pytest.CaptureFixture[str]) -> None:
    """In batches, as a training step gets them; wall time, for workers run beside it."""
    data.observation, data.workers = Points, workers
    loader = data.train_dataloader()
    for _ in loader:  # workers start, files get into the page cache
        pass
    began, count = time.perf_counter(), 0
    for batch in loader:
        assert isinstance(batch.target, Occupancies)
        assert batch.observation.points.shape == (32, 3000, 3)
        count += len(batch.index)
    rate = count / (time.perf_counter() - began)
    with capsys.disabled():
        print(f"\n{Path(data.path).name[:-1]}, {workers} workers: {rate:.0f} items a second")
    assert count == ITEMS
