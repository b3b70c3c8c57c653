import math
import subprocess
import sys

import numpy as np
import pytest
import torch
import trimesh

from recon.errors import DataError
from recon.geometry.sampling import Samples, sample_surface
from recon.io.types import Mesh
from recon.metrics import functional as F

PREDICTION = np.array([[0.0, 0, 0], [1, 0, 0], [4, 0, 0]])
TRUTH = np.array([[0.0, 0, 0.1], [1, 0, 0]])
EMPTY = np.zeros((0, 3))


def reference(prediction, truth):
    """All scores from the full matrix of distances."""
    d = np.linalg.norm(prediction[:, None] - truth[None], axis=2)
    return d.min(axis=1), d.min(axis=0)


def test_scores_of_three_points_against_two():
    d = F.cloud_distances(PREDICTION, TRUTH)
    np.testing.assert_allclose(d.accuracy, [0.1, 0, 3])
    np.testing.assert_allclose(d.completeness, [0.1, 0])
    assert F.accuracy(d) == pytest.approx(3.1 / 3)
    assert F.completeness(d) == pytest.approx(0.05)
    assert F.chamfer_l1(d) == pytest.approx((3.1 / 3 + 0.05) / 2)
    assert F.chamfer_l2(d) == pytest.approx((9.01 / 3 + 0.005) / 2)
    assert F.hausdorff_directed(d) == pytest.approx((3, 0.1))
    assert F.hausdorff(d) == pytest.approx(3)
    assert F.precision(d, 0.05) == pytest.approx(1 / 3)
    assert F.recall(d, 0.05) == pytest.approx(1 / 2)
    assert F.fscore(d, 0.05) == pytest.approx(0.4)
    assert math.isnan(F.normal_consistency(d))
    assert F.scores(d) == pytest.approx({name: getattr(F, name)(d) for name in F.SCORES}, nan_ok=True)


@pytest.mark.parametrize("kind", ["numpy", "torch", "float32"])
def test_equals_the_full_matrix(kind, rng):
    a, b = rng.normal(size=(200, 3)), rng.normal(size=(300, 3))
    if kind == "float32":
        a, b = a.astype(np.float32), b.astype(np.float32)
    given = (torch.from_numpy(a), torch.from_numpy(b)) if kind == "torch" else (a, b)
    d = F.cloud_distances(*given)
    accuracy, completeness = reference(a.astype(np.float64), b.astype(np.float64))
    np.testing.assert_allclose(d.accuracy, accuracy, rtol=1e-12)
    np.testing.assert_allclose(d.completeness, completeness, rtol=1e-12)


def test_normals_are_compared_up_to_sign_and_length():
    normals = np.array([[0, 0, 1.0], [0, 2, 0], [0, 3, 4]])
    d = F.cloud_distances(PREDICTION, TRUTH, normals, np.array([[0, 0, -5.0], [0, 0, 1]]))
    # Both ways: parallel (1), perpendicular (0); the third point's nearest is the second true one (4/5).
    assert F.normal_consistency(d) == pytest.approx(((1 + 0 + 0.8) / 3 + (1 + 0) / 2) / 2)


def test_thresholds_are_inclusive():
    d = F.Distances(np.array([0.5]), np.array([0.5]))
    assert F.fscore(d, 0.5) == 1
    assert F.fscore(d, 0.49) == 0


def test_an_empty_prediction_scores_nothing_and_lies_infinitely_far():
    d = F.cloud_distances(EMPTY, TRUTH, EMPTY, TRUTH)
    far = (F.accuracy(d), F.completeness(d), F.chamfer_l1(d), F.chamfer_l2(d), F.hausdorff(d))
    assert far == (math.inf,) * 5
    assert (F.precision(d, 1), F.recall(d, 1), F.fscore(d, 1), F.normal_consistency(d)) == (0, 0, 0, 0)


def sphere(radius, level=4):
    shape = trimesh.creation.icosphere(level, radius=radius)
    return Mesh(np.asarray(shape.vertices), np.asarray(shape.faces))


def test_exact_distances_between_spheres_have_no_sampling_floor():
    a, b = sphere(1.0), sphere(1.1)
    pa, pb = sample_surface(a, 2000, 0), sample_surface(b, 2000, 1)
    exact, sampled = F.surface_distances(a, b, pa, pb), F.cloud_distances(pa.points, pb.points)
    assert F.chamfer_l1(exact) == pytest.approx(0.1, rel=5e-3)
    assert F.chamfer_l1(sampled) > 0.102
    assert F.normal_consistency(exact) > 0.999
    same = F.surface_distances(a, a, pa, sample_surface(a, 2000, 3))
    assert F.hausdorff(same) < 1e-15
    assert F.normal_consistency(same) == pytest.approx(1)


def test_exact_distances_without_a_prediction():
    nothing = Samples(EMPTY, np.zeros(0, dtype=np.int64), EMPTY)
    truth = sphere(1.0, 1)
    d = F.surface_distances(Mesh.empty(), truth, nothing, sample_surface(truth, 50))
    assert F.chamfer_l1(d) == math.inf
    assert F.fscore(d, 1) == F.normal_consistency(d) == 0


def test_an_empty_truth_is_refused():
    with pytest.raises(DataError, match="The truth is empty"):
        F.cloud_distances(PREDICTION, EMPTY)


@pytest.mark.parametrize(
    ("place", "what"), list(enumerate(["prediction", "truth", "prediction's normals", "truth's normals"]))
)
def test_numbers_that_are_not_finite_are_refused(place, what):
    arguments = [PREDICTION.copy(), TRUTH.copy(), PREDICTION.copy(), TRUTH.copy()]
    arguments[place][1, 2] = np.nan
    with pytest.raises(DataError, match=f"The {what} has 1 of [23] rows that are not finite"):
        F.cloud_distances(*arguments)


@pytest.mark.slow
def test_a_million_points_against_a_million_in_two_gigabytes():
    code = """
import resource, numpy as np
from recon.metrics import functional as F
rng = np.random.default_rng(0)
clouds = [rng.random((1_000_000, 3)) for _ in range(2)]
normals = [rng.normal(size=(1_000_000, 3)) for _ in range(2)]
d = F.cloud_distances(*clouds, *normals)
assert 0 < F.chamfer_l1(d) < 0.01 and F.fscore(d, 0.05) == 1 and 0.49 < F.normal_consistency(d) < 0.51
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 2048
