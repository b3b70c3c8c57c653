"""Signs of normals: the score, the starts, and whole orientations of closed, noisy, sparse and open clouds."""

import numpy as np
import pytest
import torch
import trimesh

from recon.geometry.neighbours import Neighbours
from recon.geometry.orientation import TRUSTED, orient
from recon.geometry.sign_field import SignField
from recon.geometry.sign_starts import flood_signs, tree_signs

TORUS = trimesh.creation.torus(0.7, 0.25, major_sections=96, minor_sections=48)


def samples(mesh: trimesh.Trimesh, count: int, noise: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    points, faces = trimesh.sample.sample_surface(mesh, count, seed=seed)
    return points + np.random.default_rng(seed).normal(0, noise, points.shape), mesh.face_normals[faces]


def scrambled(normals: np.ndarray) -> np.ndarray:
    return normals * np.random.default_rng(7).choice((-1.0, 1.0), (len(normals), 1))


def right(found: np.ndarray, normals: np.ndarray) -> float:
    return float(((found * normals).sum(axis=1) > 0).mean())


def sign_field(points: np.ndarray, normals: np.ndarray) -> SignField:
    tensors = [torch.from_numpy(np.asarray(a, dtype=np.float32)) for a in (points, normals)]
    return SignField(*tensors, torch.ones(len(points)), resolution=32, half=1.3)


def test_score_is_one_for_a_closed_surface_and_falls_with_wrong_signs() -> None:
    points, normals = samples(TORUS, 20000)
    field = sign_field(points, normals)
    scores = [field.score(torch.from_numpy(np.where(points[:, 0] > cut, -1, 1))) for cut in (2.0, 0.8, 0.0)]
    assert scores[0] > 0.97
    assert scores[0] > scores[1] > scores[2]
    assert field.score(-torch.ones(len(points))) == pytest.approx(scores[0], abs=1e-6)


def test_polish_mends_a_patch_of_wrong_signs() -> None:
    points, normals = samples(TORUS, 4000)
    wrong = torch.from_numpy(np.where(points[:, 0] > 0.75, -1.0, 1.0).astype(np.float32))
    signs = wrong
    for _ in range(5):
        signs = sign_field(points, normals).improved(signs)
    assert (wrong == 1).float().mean() < 0.95
    assert (signs == 1).float().mean() > 0.999


def test_tree_orients_each_part_outward() -> None:
    near, apart = samples(TORUS, 3000), samples(TORUS, 3000, seed=1)
    points, normals = np.concatenate([near[0], apart[0] + (4, 0, 0)]), np.concatenate([near[1], apart[1]])
    signs = tree_signs(Neighbours(points), scrambled(normals), 8)
    signed = scrambled(normals) * signs[:, None]
    for half in (slice(0, 3000), slice(3000, 6000)):
        assert abs(2 * right(signed[half], normals[half]) - 1) > 0.999


def test_flood_tells_inside_from_outside() -> None:
    points, normals = samples(TORUS, 6000)
    signs = list(flood_signs(points, normals, 1.3, 48, (1.5, 40.0)))
    assert len(signs) == 1  # so thick a torus has no inside
    assert (signs[0] > 0).mean() > 0.99


@pytest.mark.parametrize(("count", "noise", "share"), [(8000, 0.0, 1.0), (1000, 0.0, 0.99), (8000, 0.02, 0.995)])
def test_closed_shapes_come_out_outward(count: int, noise: float, share: float) -> None:
    points, normals = samples(TORUS, count, noise)
    found = orient(1e-3 * points + 17.0, scrambled(normals))
    assert right(found.normals, normals) >= share
    assert found.score > TRUSTED
    assert not found.warnings


def test_thin_plate_keeps_its_two_sides() -> None:
    points, normals = samples(trimesh.creation.box((2, 1.5, 0.1)), 8000)
    assert right(orient(points, scrambled(normals)).normals, normals) > 0.995


def test_open_scans_are_oriented_and_warned_of() -> None:
    normals = np.random.default_rng(0).normal(size=(2000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    normals = normals[normals[:, 1] > 0.2]
    found = orient(normals, scrambled(normals))
    assert right(found.normals, normals) == 1.0
    assert found.score < TRUSTED
    assert "open" in found.warnings[0]


def test_disconnected_patches_follow_the_score() -> None:
    """A scan cut in two by a gap: a tree cannot cross it, the field can."""
    points, normals = samples(TORUS, 8000)
    kept = np.abs(points[:, 0] - 0.2) > 0.08
    assert right(orient(points[kept], scrambled(normals[kept])).normals, normals[kept]) > 0.999
