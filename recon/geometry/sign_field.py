"""What signs make of the normals of a cloud: how free of curl their field is, and which signs it asks for."""

from __future__ import annotations

import torch
from torch import Tensor

from recon.geometry.poisson import Lattice3


class SignField:
    """The low-passed, splatted normals of a cloud on a periodic grid, as a function of their signs.

    Args:
        points: (N, 3) local coordinates within the cube of side ``2 * half``.
        normals: (N, 3) unit axes.
        areas: (N,) weights.
        resolution: nodes along an axis.
        half: half the side of the box.
        smoothing: deviation of the low pass, in cells.
    """

    def __init__(
        self, points: Tensor, normals: Tensor, areas: Tensor, resolution: int, half: float, smoothing: float = 1.0
    ) -> None:
        self.grid = Lattice3.about(half, resolution)
        self.normals = normals
        self.vectors = normals * (areas / areas.sum())[:, None]
        self.keys, self.weights = self.grid.corners(points)
        self.waves = self.grid.waves(points.device)
        square = self.grid.square(points.device)
        self.low_pass = torch.exp(square * (-0.5 * (smoothing * self.grid.cell) ** 2))
        self.inverse = torch.where(square > 0, 1 / square.clamp_min(1e-12), torch.zeros_like(square))

    def score(self, signs: Tensor) -> float:
        """The share of the field's energy that is free of curl: sum |k.V|^2 / |k|^2 over sum |V|^2, in [0, 1].

        Args:
            signs: (N,) of +1 and -1; flipping all of them changes nothing.
        """
        flux, energy = self._transform(signs)
        twice = torch.full((flux.shape[2],), 2.0, device=flux.device)  # waves that `rfftn` leaves out as conjugates
        twice[0] = 1.0
        twice[-1] = 1.0
        free = (flux.abs() ** 2 * self.inverse * twice).sum()
        return float(free / (energy * twice).sum())

    def improved(self, signs: Tensor) -> Tensor:
        """The (N,) signs that agree with the outward gradient of the Poisson field of `signs`: one round of iPSR."""
        flux, _ = self._transform(signs)
        values = torch.fft.irfftn(flux * (-1j * self.inverse), s=(self.grid.resolution,) * 3)
        slope = torch.zeros_like(signs)
        for axis in range(3):
            rise = torch.roll(values, -1, axis) - torch.roll(values, 1, axis)
            slope += (rise.flatten()[self.keys] * self.weights).sum(dim=0) * self.normals[:, axis]
        return torch.where(slope < 0, -torch.ones_like(signs), torch.ones_like(signs))

    def _transform(self, signs: Tensor) -> tuple[Tensor, Tensor]:
        """k.V in Fourier space and the energy |V|^2 of every wave."""
        flux: Tensor | float = 0.0
        energy: Tensor | float = 0.0
        for axis, wave in enumerate(self.waves):
            dense = self.grid.splat(self.keys, self.weights, self.vectors[:, axis] * signs)
            spectrum = torch.fft.rfftn(dense) * self.low_pass
            flux = flux + spectrum * wave
            energy = energy + spectrum.abs() ** 2
        energy[0, 0, 0] = 0.0  # type: ignore[index]  # the mean is no gradient of a periodic field, right or wrong
        return flux, energy  # type: ignore[return-value]
