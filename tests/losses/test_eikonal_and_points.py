"""The losses against their formulas written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recon.losses.eikonal import eikonal, normal_error
from recon.losses.points import code_length, off_surface, surface_distance

RNG = np.random.default_rng(0)
G, N, F = RNG.normal(size=(9, 3)), RNG.normal(size=(9, 3)), RNG.normal(size=9)
LENGTH = np.sqrt((G**2).sum(1))
COSINE = (G * N).sum(1) / LENGTH / np.sqrt((N**2).sum(1))


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (lambda r: eikonal(torch.tensor(G), 2, r), (LENGTH - 1) ** 2),
        (lambda r: eikonal(torch.tensor(G), 1, r), np.abs(LENGTH - 1)),
        (lambda r: normal_error(torch.tensor(G), torch.tensor(N), "l2", r), np.sqrt(((G - N) ** 2).sum(1))),
        (lambda r: normal_error(torch.tensor(G), torch.tensor(N), "cosine", r), 1 - COSINE),
        (lambda r: surface_distance(torch.tensor(F), 1, r), np.abs(F)),
        (lambda r: surface_distance(torch.tensor(F), 2, r), F**2),
        (lambda r: off_surface(torch.tensor(F), 3.0, r), np.exp(-3 * np.abs(F))),
    ],
)
def test_each_loss_and_reduction(loss: object, expected: np.ndarray) -> None:
    np.testing.assert_allclose(loss("none").numpy(), expected, rtol=1e-12)
    assert loss("mean").item() == pytest.approx(expected.mean(), rel=1e-12)
    assert loss("sum").item() == pytest.approx(expected.sum(), rel=1e-12)


def test_code_length_in_both_norms() -> None:
    assert code_length(torch.tensor(G)).item() == pytest.approx(LENGTH.mean(), rel=1e-12)
    assert code_length(torch.tensor(G), "l1").item() == pytest.approx(np.abs(G).mean(), rel=1e-12)
