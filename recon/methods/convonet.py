"""Peng et al. 2020, "Convolutional Occupancy Networks" (arXiv 2003.04618)."""

from __future__ import annotations

from typing import Literal

from recon.methods.base import Compat
from recon.methods.occupancy import OccupancyMethod, Settings
from recon.methods.placing import Place, Up
from recon.nets.occupancy_net import OccupancyNet


class ConvONet(OccupancyMethod):
    """Features of points, gathered on a grid, spread by a U-Net, and read off by interpolation.

    Args:
        latent: three planes, or a volume.
        resolution: cells along a side of the grid.
        width: channels of points and of the finest grid.
        hidden: channels of the decoder (of a head of it); null means `width`.
        levels: of the U-Net, each but the first half as fine as the one before.
        padding: the grid covers a cube that is longer by this share than the unit cube.
        lr: learning rate of Adam, at the start.
        lr_epochs: passes over the data in which it falls to `lr_floor` along half a cosine, and the length of a
            training that the trainer is told nothing of; 0 keeps the rate, as the paper does.
        lr_floor: where it ends.
        val_every: steps between two validations.
        val_threshold: probability from which validation counts a point as inside.
        threshold: probability on the surface of a mesh.
        normalize: how `reconstruct` brings a cloud into the unit cube: ``box``; ``auto``, the same for those that do
            not fill it already; ``floor``, as ``auto`` with the lowest point at its bottom, as in rooms; ``none``.
        up: the axis of the cloud that points up; the networks know y.
        points: drawn of a larger cloud by `reconstruct` (with windows: of each); null takes all.
        window: side of the overlapping windows through which `reconstruct` sees scenes larger than the network knows,
            in the cloud's own unit; 0: the whole cloud in one cube.
        overlap: share of its side that a window has in common with the next, up to 0.5.
        compile: let torch.compile fuse small layers in training.
        compat: ``released`` refuses networks that the published program cannot build.
        seed: of the draw of `points`.
    """

    def __init__(
        self,
        latent: Literal["triplane", "volume"] = "triplane",
        resolution: int = 64,
        width: int = 32,
        hidden: int | None = None,
        levels: int = 4,
        padding: float = 0.1,
        lr: float = 1e-4,
        lr_epochs: int = 0,
        lr_floor: float = 0.0,
        val_every: int = 10_000,
        val_threshold: float = 0.2,
        threshold: float = 0.2,
        normalize: Place = "auto",
        up: Up = "y",
        points: int | None = None,
        window: float = 0.0,
        overlap: float = 0.25,
        compile: bool = False,  # noqa: A002 - torch's own word
        compat: Compat = None,
        seed: int = 0,
    ) -> None:
        net = OccupancyNet(
            latent,
            resolution,
            width,
            hidden,
            levels,
            padding,
            decoder="simple",
            alternating=False,
            legacy=compat == "released",
        )
        schedule = (lr, lr_epochs, lr_floor, val_every, val_threshold)
        super().__init__(net, Settings(*schedule, threshold, normalize, up, points, compile, seed, window, overlap))
        self.save_hyperparameters(logger=False)
