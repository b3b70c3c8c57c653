import math

import numpy as np
import pytest
import torch
import trimesh

from recon.errors import ConfigError, DataError
from recon.geometry.frames import Frame
from recon.geometry.sampling import sample_surface
from recon.io.types import Cloud, Mesh
from recon.metrics import legacy, protocols
from recon.metrics.legacy import nnabla_held_out, nnabla_normalized, to_index_frame
from recon.metrics.protocols import PROTOCOLS, evaluate, status
from recon.observations import Occupancies


@pytest.fixture(autouse=True)
def few_samples(monkeypatch):
    monkeypatch.setattr(protocols, "SAMPLES", 4000)
    monkeypatch.setattr(protocols, "ONET_SAMPLES", 2000)
    monkeypatch.setattr(legacy, "POINTS2SURF_SAMPLES", 500)


def sphere(radius=1.0, level=3):
    shape = trimesh.creation.icosphere(level, radius=radius)
    return Mesh(np.asarray(shape.vertices), np.asarray(shape.faces))


CLOUD = Cloud(sphere().vertices, sphere().vertices)
TRIANGLE = Mesh(np.eye(3), np.array([[0, 1, 2]]))
FLAT = Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]]))


def test_rooms_are_scored_without_the_outer_sides_of_walls():
    def sheet(x):
        corners = np.array([[x, -0.5, -0.5], [x, 0.5, -0.5], [x, 0.5, 0.5], [x, -0.5, 0.5]])
        return Mesh(corners, np.array([[0, 1, 2], [0, 2, 3]]))

    inner, outer = sheet(0.4), sheet(0.41)
    wall = Mesh(np.vstack([inner.vertices, outer.vertices]), np.vstack([inner.faces, outer.faces + 4]))
    drawn = sample_surface(inner, 20_000, 0)
    truth = Cloud(drawn.points, drawn.normals)
    assert evaluate(wall, truth, "onet")["accuracy"] > 0.005
    assert evaluate(wall, truth, "onet_rooms")["accuracy"] < 0.004  # the spacing of the truth's points, and no more
    assert evaluate(outer, truth, "onet_rooms") == evaluate(None, truth, "onet")


def known(rng, radius=1.0):
    points = torch.from_numpy(rng.uniform(-1.2, 1.2, (20_000, 3)))
    return Occupancies(points, (points.norm(dim=1) < radius).float())


def test_onet_has_the_iou_of_known_occupancies(rng):
    share = 0.9**3  # of the volume of the one in that of the other
    for protocol in ("onet", "alto", "onet_rooms"):
        row = evaluate(sphere(0.9, 5), sphere(), protocol, occupancies=known(rng))
        assert row["iou"] == pytest.approx(share, abs=0.02)
    assert evaluate(None, CLOUD, "onet", occupancies=known(rng))["iou"] == 0
    assert evaluate(None, CLOUD, "onet", occupancies=known(rng, 0))["iou"] == 1  # nothing in nothing, as elsewhere
    assert "iou" not in evaluate(sphere(0.9), sphere(), "onet")


def test_recon_uses_known_occupancies_where_the_truth_is_a_cloud(rng):
    assert evaluate(sphere(0.9, 5), CLOUD, occupancies=known(rng))["iou"] == pytest.approx(0.9**3, abs=0.02)
    assert math.isnan(evaluate(TRIANGLE, CLOUD, occupancies=known(rng))["iou"])
    assert evaluate(sphere(0.9, 5), sphere(), occupancies=known(rng, 0.5))["iou"] == pytest.approx(0.9**3, abs=0.01)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_protocols_of_the_unit_cube_measure_in_the_data_s_own_frame(protocol, rng):
    """Their thresholds mean nothing in metres; the others' lengths are in the unit of the world."""
    frame = Frame(7.0, translation=np.array([100.0, 20, -3]))
    found, true, occupancies = sphere(0.97), sphere(level=2), known(rng)
    world = [Mesh(frame.to_world(m.vertices), m.faces) for m in (found, true)]
    moved = Occupancies(torch.from_numpy(frame.to_world(occupancies.points.numpy())), occupancies.inside)
    here = evaluate(*world, protocol, seed=1, occupancies=moved, frame=frame)
    there = evaluate(found, true, protocol, seed=1, occupancies=occupancies)
    if protocol in protocols.UNIT_CUBE:
        assert here == pytest.approx(there, rel=1e-6, abs=1e-9)
    elif protocol == "recon":
        assert here["chamfer_l1"] == pytest.approx(7 * there["chamfer_l1"])


def test_recon_between_two_spheres():
    row = evaluate(sphere(1.01), sphere(1.0), seed=1)
    assert row["size"] == pytest.approx(2, abs=1e-3)
    assert row["chamfer_l1_exact"] == pytest.approx(0.01, rel=0.02)
    assert row["hausdorff_exact"] == pytest.approx(0.01, rel=0.1)
    assert row["chamfer_l1"] > row["chamfer_l1_exact"]
    # 0.01 is more than 0.25 % and less than 1 % of the longest side.
    assert row["fscore_0.5pct_exact"] + row["fscore_1pct_exact"] > 1
    assert row["fscore_1pct_exact"] == 1
    assert row["iou"] == pytest.approx(1 / 1.01**3, abs=0.005)
    assert (row["watertight"], row["components"], row["genus"], row["faces"]) == (1, 1, 0, 1280)


def test_recon_of_a_mesh_against_itself_is_perfect():
    row = evaluate(sphere(), sphere())
    assert row["chamfer_l1_exact"] < 1e-15
    assert row["fscore_0.5pct_exact"] == 1
    assert row["normal_consistency_exact"] == pytest.approx(1)
    assert row["iou"] == 1


def test_recon_with_a_cloud_on_either_side_measures_what_can_be_measured():
    against_cloud, of_cloud = evaluate(sphere(), CLOUD), evaluate(CLOUD, sphere())
    assert against_cloud["completeness_exact"] < 1e-15
    assert math.isnan(against_cloud["accuracy_exact"])
    assert of_cloud["accuracy_exact"] < 1e-15
    assert math.isnan(of_cloud["completeness_exact"])
    assert math.isnan(of_cloud["watertight"])
    assert evaluate(CLOUD, CLOUD)["chamfer_l1"] == 0
    assert set(against_cloud) == set(of_cloud) == set(evaluate(CLOUD, CLOUD))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_is_seeded_and_takes_every_kind(protocol):
    for prediction in (sphere(), CLOUD, TRIANGLE):
        for truth in (sphere(level=2), CLOUD):
            row = evaluate(prediction, truth, protocol, seed=2)
            assert all(isinstance(value, float) for value in row.values())
            assert row == pytest.approx(evaluate(prediction, truth, protocol, seed=2), abs=0, nan_ok=True)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("nothing", [None, Mesh.empty(), FLAT, Cloud(np.zeros((0, 3)))], ids=str)
def test_every_protocol_scores_an_empty_prediction_the_same_whatever_its_kind(protocol, nothing):
    row = evaluate(nothing, sphere(), protocol)
    assert row == pytest.approx(evaluate(Mesh.empty(), sphere(), protocol), nan_ok=True)
    good = {name: value for name, value in row.items() if "fscore" in name or "iou" in name or "recall" in name}
    assert set(good.values()) <= {0.0}


def test_an_empty_prediction_in_recon():
    row = evaluate(None, sphere())
    assert row["chamfer_l1"] == row["chamfer_l1_exact"] == row["hausdorff"] == math.inf
    assert row["fscore_1pct"] == row["normal_consistency"] == row["iou"] == row["watertight"] == 0
    assert set(row) == set(evaluate(sphere(), sphere()))
    assert evaluate(None, CLOUD)["completeness_exact"] == math.inf


def test_status():
    assert [status(g) for g in (None, Mesh.empty(), FLAT, sphere(), CLOUD)] == ["missing", *["empty"] * 2, *["ok"] * 2]


def test_nnabla_normalisation_split_and_frame(rng):
    points = rng.normal(size=(101, 3)) * [1, 5, 2] + 7
    scaled = nnabla_normalized(points)
    np.testing.assert_allclose(np.ptp(scaled, axis=0).max(), 2)
    np.testing.assert_allclose(scaled.max(axis=0) + scaled.min(axis=0), 0, atol=1e-12)
    assert nnabla_normalized(np.ones((1, 3))).tolist() == [[0, 0, 0]]
    assert len(nnabla_held_out(points)) == 25
    np.testing.assert_array_equal(to_index_frame(np.array([[1.0, 2, 3]])), [[2, -1, 3]])


def test_the_legacy_frame_hurts_a_perfect_long_shape(rng):
    long = Cloud(rng.uniform(-1, 1, (4000, 3)) * [1, 0.1, 0.1])
    row = evaluate(long, long, "nnabla_legacy")
    assert row["cd"] > 10 * row["corrected_cd"]


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ConfigError, match="There is no evaluation protocol 'nabla'"):
        evaluate(sphere(), sphere(), "nabla")


@pytest.mark.parametrize("truth", [Mesh.empty(), FLAT, Cloud(np.zeros((0, 3)))], ids=["no faces", "no area", "cloud"])
def test_an_empty_truth_is_refused(truth):
    with pytest.raises(DataError, match="The truth is empty"):
        evaluate(sphere(), truth)


@pytest.mark.parametrize("kind", ["mesh", "cloud"])
def test_coordinates_that_are_not_finite_are_refused(kind):
    bad = np.array([[0.0, 0, 0], [1, 0, np.nan], [0, 1, 0]])
    shape = Mesh(bad, np.array([[0, 1, 2]])) if kind == "mesh" else Cloud(bad)
    for pair in ((shape, sphere()), (sphere(), shape)):
        with pytest.raises(DataError, match=f"A {kind} with coordinates that are not finite cannot be evaluated"):
            evaluate(*pair)
