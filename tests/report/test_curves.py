"""Curves: every value where it belongs, gaps said, scales that fit."""

import json
import re
from html import unescape

import numpy as np

from recon.report.curves import HEIGHT, LEFT, MAX_POINTS, RIGHT, TOP, WIDTH, Curve, from_history, grouped, plot_html


def polylines(html: str) -> list[np.ndarray]:
    found = re.findall(r'<polyline class="line" points="([^"]*)"', html)
    return [np.array([pair.split(",") for pair in text.split()], dtype=float) for text in found]


def test_names_that_end_alike_share_a_plot():
    groups = grouped([Curve("train/loss", [], []), Curve("val/loss", [], []), Curve("val/iou", [], [])])
    assert {name: len(curves) for name, curves in groups.items()} == {"loss": 2, "iou": 1}


def test_a_falling_line_falls_from_edge_to_edge():
    (points,) = polylines(plot_html("loss", [Curve("a", [10, 20, 30], [3.0, 2.0, 1.0])]))
    np.testing.assert_allclose(points[:, 0], [LEFT, (LEFT + WIDTH - RIGHT) / 2, WIDTH - RIGHT], atol=0.1)
    assert (np.diff(points[:, 1]) > 0).all()  # down on the screen
    assert points[:, 1].min() >= TOP
    assert points[:, 1].max() <= HEIGHT
    np.testing.assert_allclose(points[1, 1], points[[0, 2], 1].mean(), atol=0.1)


def test_wide_ranges_are_logarithmic():
    html = plot_html("loss", [Curve("a", range(5), [1e0, 1e-1, 1e-2, 1e-3, 1e-4])])
    (points,) = polylines(html)
    np.testing.assert_allclose(np.diff(points[:, 1]), np.diff(points[:, 1])[0], atol=0.11)
    assert ">0.01</text>" in html
    assert ">1e-4</text>" in html


def test_gaps_are_said_and_the_end_is_exact():
    html = plot_html("iou", [Curve("val/iou", [0, 1, 2, 3], [0.5, float("nan"), float("inf"), 0.75])])
    assert "Left out, as they were not finite: 2 values" in html
    assert "at the end: val/iou 0.750" in html
    series = json.loads(unescape(re.search(r'data-series="([^"]*)"', html)[1]))
    assert [row[2] for row in series[0]["at"]] == ["0.500", "0.750"]


def test_noise_is_smoothed_and_kept_in_sight():
    noisy = 0.5 + 0.1 * np.random.default_rng(0).standard_normal(4000)
    html = plot_html("loss", [Curve("a", np.arange(4000), noisy)])
    raw = re.search(r'class="raw" points="([^"]*)"', html)[1].split()
    (smooth,) = polylines(html)
    assert len(raw) == len(smooth) == MAX_POINTS
    heights = np.array([pair.split(",")[1] for pair in raw], dtype=float)
    assert smooth[20:-20, 1].std() < heights.std() / 5
    assert "running mean" in html


def test_one_value_constant_values_and_none_at_all():
    assert "<circle" in plot_html("x", [Curve("a", [3], [2.0])])
    (points,) = polylines(plot_html("x", [Curve("a", [0, 1], [2.0, 2.0])]))
    assert np.isfinite(points).all()
    assert "Nothing was logged." in plot_html("x", [Curve("a", [], [])])
    assert "Nothing was logged." in plot_html("x", [Curve("a", [1], [float("nan")])])


def test_steps_done_twice_count_once():
    (curve,) = from_history({"a": ([1, 2, 3, 2, 3, 4], [1.0, 2.0, 3.0, 20.0, 30.0, 40.0])})
    assert list(curve.steps) == [1, 2, 3, 4]
    assert list(curve.values) == [1.0, 20.0, 30.0, 40.0]
