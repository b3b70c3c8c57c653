"""Occupancy methods on scenes larger than their cube: windows see what the network sees in each of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recon.errors import ConfigError
from recon.geometry.frames import Frame
from recon.geometry.windows import WindowedField
from recon.methods.alto import ALTO
from recon.methods.convonet import ConvONet
from recon.observations import Points

SIDE = 3.0


def scene(frame: Frame | None = None) -> Points:
    """A floor of 10 x 4 m with a bump, z up, in survey coordinates."""
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 1, (4000, 2)) * [10, 4]
    points = np.c_[xy, np.exp(-((xy - [5, 2]) ** 2).sum(axis=1))] + [4e5, 5e6, 100]
    return Points(torch.from_numpy(points), frame or Frame(), "floor")


@pytest.mark.parametrize("kind", [ALTO, ConvONet])
@pytest.mark.parametrize("latent", ["triplane", "volume"])
def test_each_window_is_decoded_as_a_cloud_of_its_own(kind: type[ALTO | ConvONet], latent: str) -> None:
    torch.manual_seed(0)
    method = kind(latent=latent, resolution=16, width=8, window=SIDE, overlap=0.3, up="z").eval()  # type: ignore[arg-type]
    surface = method.reconstruct(scene())
    field = surface.field
    assert isinstance(field, WindowedField)
    lattice = field.lattice
    assert len(lattice) > 6
    place = np.array([1, 0, 0])
    centre = lattice.centres(place)
    world = surface.frame.to_world(np.array([[0.0, 0, 0], [0, 0.1, 0]]))
    np.testing.assert_allclose(world[1] - world[0], [0, 0, 0.1 * SIDE], atol=1e-6)  # y is up for the network
    cloud = torch.from_numpy(surface.frame.to_local(scene().points.numpy()) - centre).float()
    seen = cloud[(cloud.abs() <= 0.55).all(dim=1)]
    alone = 0.15  # half of where no other window reaches
    queries = alone * (2 * torch.rand(50, 3, generator=torch.Generator().manual_seed(1)) - 1)
    with torch.inference_mode():
        expected = method.net(seen[None], queries[None])[0]
        found = field(queries + torch.from_numpy(centre).float())
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-3)
    assert field.fields.encodings >= 1


def test_the_mesh_covers_the_scene_in_its_own_coordinates() -> None:
    """An untrained network means nothing; where its empty space and its box are does."""
    torch.manual_seed(0)
    method = ALTO(resolution=16, width=8, window=SIDE, up="z", points=300).eval()
    surface = method.reconstruct(scene())
    corners = surface.frame.to_world(np.array([surface.low, surface.high]))
    points = scene().points.numpy()
    np.testing.assert_allclose(corners.min(axis=0), points.min(axis=0) - 0.05 * SIDE, atol=1e-5)
    np.testing.assert_allclose(corners.max(axis=0), points.max(axis=0) + 0.05 * SIDE, atol=1e-5)
    mesh = surface.mesh(resolution=60).mesh
    if not mesh.is_empty:
        assert (mesh.vertices >= corners.min(axis=0) - 0.2).all()


@pytest.mark.parametrize("options", [{"window": -1.0}, {"window": 2.0, "overlap": 0.6}, {"overlap": 0.0}])
def test_windows_that_cannot_be(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"method\.window="):
        ALTO(resolution=16, width=8, **options)  # type: ignore[arg-type]
