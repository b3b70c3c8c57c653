"""Sparse marked voxels against dense arrays."""

from __future__ import annotations

import numpy as np
import pytest

from recon.geometry.voxels import INSIDE, LEAF, MIXED, OUTSIDE, Voxels, keys_of, places_of


def test_marks_are_those_of_a_dense_volume() -> None:
    draw = np.random.default_rng(0)
    voxels, dense = Voxels((5, 6, 7)), np.zeros((5, 6, 7), dtype=np.uint8)
    for mark in (INSIDE, OUTSIDE, LEAF, INSIDE):
        keys = np.unique(draw.integers(0, dense.size, 40))
        voxels.mark(keys, mark)
        dense.reshape(-1)[keys] |= mark
    assert (np.diff(voxels.keys) > 0).all()
    assert np.array_equal(voxels.keys, np.flatnonzero(dense))
    assert np.array_equal(voxels.marks, dense[dense > 0])
    mixed = np.argwhere(dense == MIXED)
    assert len(mixed) > 0
    assert np.array_equal(voxels.divide(), mixed)
    assert len(voxels.divide()) == 0
    assert np.array_equal(places_of(voxels.keys, voxels.shape), np.argwhere(dense))
    assert np.array_equal(keys_of(mixed, voxels.shape), np.flatnonzero(dense == MIXED))


@pytest.mark.parametrize("bits", [1, 3])
def test_voxels_touch_the_nodes_on_their_borders_and_within(bits: int) -> None:
    voxels = Voxels((3, 2, 4))
    nodes = np.random.default_rng(1).integers(0, (voxels.shape << bits) + 1, (4, 3))
    every = places_of(np.arange(24), voxels.shape)[:, None]
    close = ((nodes >= every << bits) & (nodes <= (every + 1) << bits)).all(axis=2)
    for count in (1, 4):
        assert np.array_equal(voxels.touching(nodes[:count], bits), np.flatnonzero(close[:, :count].any(axis=1)))
    assert len(voxels.touching(nodes[:0], bits)) == 0
