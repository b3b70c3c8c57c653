"""Occupancy from a point cloud by features on grids: ALTO and the convolutional occupancy networks it grew from.

Points are encoded by a local PointNet, averaged onto three planes or into a volume, completed there by a U-Net, and
read at any position by a decoder. ALTO alternates between grids and points within the U-Net and decodes by attention.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from recon.errors import ConfigError
from recon.nets.alternating import AlternatingUNet, poolings
from recon.nets.alternating3d import AlternatingUNet3d
from recon.nets.attention import Answers, AttentionDecoder, InterpolatingDecoder, Layout
from recon.nets.grids import PLANES, Kind, Places, table
from recon.nets.pointnet import LocalPointNet
from recon.nets.unet import UNet
from recon.nets.unet3d import UNet3d

CHUNK = {"cpu": 2048}
GPU_CHUNK = 1 << 16
"""Queries decoded at once where no gradient is needed."""


@dataclass(frozen=True)
class Latent:
    """What the encoder made of a batch of clouds.

    Attributes:
        kind: of the grids.
        features: (3 B, C, R, R), plane by plane, or (B, C, R, R, R); axes are (..., third, second, first coordinate).
        answers: what the decoder can work out for all cells beforehand, once `prepared`.
    """

    kind: Kind
    features: Tensor
    answers: Answers | None = None

    @property
    def resolution(self) -> int:
        return self.features.shape[-1]

    @property
    def planes(self) -> dict[str, Tensor]:
        """(B, C, R, R) by name: xz has z down and x across, and so on."""
        assert self.kind == "triplane"
        return dict(zip(PLANES, self.features.chunk(3), strict=True))

    @property
    def grid(self) -> Tensor:
        """(B, C, R, R, R), axes z, y, x."""
        assert self.kind == "volume"
        return self.features

    @property
    def cells(self) -> Tensor:
        """(G, B R^D, C) features of all cells."""
        rows = table(self.features)
        return rows.view(3 if self.kind == "triplane" else 1, -1, rows.shape[1])

    def prepared(self, net: OccupancyNet) -> Latent:
        """This latent with queries, keys and values of all cells, which makes decoding many queries cheaper."""
        if self.answers is not None or not isinstance(net.decoder, AttentionDecoder):
            return self
        return replace(self, answers=net.decoder.prepare(self.cells))


class OccupancyNet(nn.Module):
    """Points in, occupancy logits out.

    Local coordinates: the unit cube [-0.5, 0.5]^3; grids span it made larger by `padding`.

    Args:
        latent: three planes or a volume.
        resolution: cells a side; divisible by two for each pooling of the U-Net.
        width: channels of points and grids.
        hidden: channels of the decoder (of one head); by default `width`.
        levels: stages of the U-Net on the way down.
        padding: by how much the box is larger than the unit cube, in all.
        decoder: attention over neighbouring cells, or interpolation.
        alternating: whether grids and points take turns inside the U-Net.
        heads: of the attention; by default 4 in a volume and 1 on planes.
        neighbor_layout: where the attention looks up keys and values (see `AttentionDecoder`).
        legacy: refuse what the authors' program cannot do, which their weights therefore do not mean.
    """

    def __init__(
        self,
        latent: Kind = "triplane",
        resolution: int = 64,
        width: int = 32,
        hidden: int | None = None,
        levels: int = 4,
        padding: float = 0.1,
        decoder: Literal["attention", "simple"] = "attention",
        alternating: bool = True,
        heads: int | None = None,
        neighbor_layout: Layout = "aligned",
        legacy: bool = False,
    ) -> None:
        super().__init__()
        hidden = hidden or width
        heads = heads or (4 if latent == "volume" else 1)
        _check(latent, resolution, levels, alternating)
        if legacy:
            _check_legacy(latent, levels, alternating, padding, decoder, hidden == width)
        self.kind, self.resolution, self.padding = latent, resolution, padding
        self.alternating = alternating
        self.points = LocalPointNet(width, width)
        self.unet = _unet(latent, alternating)(width, levels)
        self.decoder: AttentionDecoder | InterpolatingDecoder
        if decoder == "attention":
            self.decoder = AttentionDecoder(latent, width, hidden, heads, padding, neighbor_layout)
        else:
            self.decoder = InterpolatingDecoder(latent, width, hidden, padding)

    def encode(self, points: Tensor) -> Latent:
        """The latent grids of clouds (B, N, 3)."""
        places = Places(points, self.kind, self.padding)
        cells = places.at(self.resolution)
        c = self.points(points, cells)
        sparse = cells.write(c)
        features = self.unet(sparse, c, places) if self.alternating else self.unet(sparse)
        return Latent(self.kind, features)

    def decode(self, latent: Latent, queries: Tensor) -> Tensor:
        """Logits (B, Q) at queries (B, Q, 3); positive inside."""
        cells = latent.cells
        if torch.is_grad_enabled():
            return self.decoder(cells, queries, latent.resolution, latent.answers)
        latent = latent.prepared(self)
        chunk = max(CHUNK.get(queries.device.type, GPU_CHUNK) // len(queries), 1)
        parts = [self.decoder(cells, part, latent.resolution, latent.answers) for part in queries.split(chunk, dim=1)]
        return torch.cat(parts, dim=1)

    def forward(self, points: Tensor, queries: Tensor) -> Tensor:
        """Logits (B, Q) at queries (B, Q, 3), given clouds (B, N, 3)."""
        return self.decode(self.encode(points), queries)


def _unet(latent: Kind, alternating: bool) -> type[nn.Module]:
    if alternating:
        return AlternatingUNet if latent == "triplane" else AlternatingUNet3d
    return UNet if latent == "triplane" else UNet3d


def _check(latent: Kind, resolution: int, levels: int, alternating: bool) -> None:
    if latent not in ("triplane", "volume"):
        raise ConfigError(f"latent={latent} is not known.", "Known: triplane, volume.")
    least = 2 if alternating else 1
    if levels < least:
        raise ConfigError(f"levels={levels} is too few.", f"Give at least {least}.")
    factor = 2 ** (poolings(levels) if alternating else levels - 1)
    if resolution < factor or resolution % factor:
        raise ConfigError(
            f"resolution={resolution} cannot be halved as often as levels={levels} asks for.",
            f"Give a multiple of {factor}, or fewer levels.",
        )


def _check_legacy(latent: Kind, levels: int, alternating: bool, padding: float, decoder: str, same_width: bool) -> None:
    """What the authors' ALTO has written into its code.

    Raises:
        ConfigError: naming the option.
    """
    if not alternating:
        return
    wrong = ""
    if levels != 4:
        wrong = f"levels={levels}: their U-Net pools after stages 1 and 2 whatever its depth, so that only 4 works"
    elif padding != 0.1:
        wrong = f"padding={padding}: their U-Net and attention take 0.1 whatever is configured"
    elif decoder == "attention" and latent == "triplane" and not same_width:
        wrong = "hidden: their attention on planes needs as many channels as the planes have"
    if wrong:
        raise ConfigError(f"The original cannot do {wrong}.", "Leave compat=released for anything else.")
