"""3D-R2N2: images through an encoder, a recurrent grid of cells and a decoder to voxels (Choy et al. 2016).

All published variants of both families are arguments of `R2N2`: 3D-LSTM-1, 3D-GRU-1, 3D-LSTM-3, 3D-GRU-3 and
Res3D-GRU-3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recon.errors import ConfigError
from recon.nets.r2n2_decoder import Decoder
from recon.nets.r2n2_encoder import Encoder
from recon.nets.r2n2_init import initialize
from recon.nets.r2n2_layout import LAYOUTS, Cell, Family, decoder_widths, doublings

State = tuple[Tensor, ...]
"""What is remembered of the views so far, each (B, hidden, g, g, g): an LSTM's hidden grid and memory; a GRU's grid."""


class ConvRNN(nn.Module):
    """A grid of recurrent cells that see the whole feature vector, and of the hidden grid their neighbours.

    The three gates share one linear map and one convolution: input, forget and candidate of an LSTM (which has no
    output gate); update, reset and candidate of a GRU.

    Args:
        cell: which recurrence.
        kernel: 1 or 3 cells wide is the neighbourhood.
        feature: length of the feature vectors.
        hidden: channels of a cell.
        grid: cells along a side.
        bias: whether each cell has a bias of its own beside the one that all share.
    """

    def __init__(self, cell: Cell, kernel: int, feature: int, hidden: int, grid: int, bias: bool) -> None:
        super().__init__()
        if kernel not in (1, 3):
            raise ConfigError(f"Recurrent cells cannot have a kernel of {kernel}.", "Give 1 or 3.")
        self.cell, self.hidden, self.grid = cell, hidden, grid
        self.inputs = nn.Linear(feature, 3 * hidden * grid**3, bias=bias)
        self.neighbours = nn.Conv3d(hidden, 3 * hidden, kernel, padding=kernel // 2)

    def forward(self, features: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Go through views in order.

        Args:
            features: (B, V, feature).
            state: what earlier views left; None is the zero state.

        Returns:
            The hidden grids after each view (B, V, hidden, g, g, g), and the last state.
        """
        terms = self._terms(features)
        if state is None and terms.shape[1] == 1:
            # The first view needs no convolution (of zeros), but DDP waits for a gradient of every parameter.
            terms = terms + 0 * self.neighbours.weight.sum()
        step = self._lstm if self.cell == "lstm" else self._gru
        grids = []
        for term in terms.unbind(dim=1):
            state = step(term, state)
            grids.append(state[0])
        assert state is not None
        return torch.stack(grids, dim=1), state

    def _terms(self, features: Tensor) -> Tensor:
        """(B, V, 3 hidden, g, g, g): what all views put into the gates, and all biases, in one product."""
        assert self.neighbours.bias is not None
        bias = self.neighbours.bias.repeat_interleave(self.grid**3)
        if self.inputs.bias is not None:
            bias = bias + self.inputs.bias
        terms = F.linear(features, self.inputs.weight, bias)
        return terms.unflatten(2, (3 * self.hidden, self.grid, self.grid, self.grid))

    def _convolved(self, grid: Tensor, first: int, last: int) -> Tensor:
        """The neighbours' part of some of the gates."""
        weight = self.neighbours.weight[first * self.hidden : last * self.hidden]
        return F.conv3d(grid, weight, padding=self.neighbours.padding)

    def _lstm(self, term: Tensor, state: State | None) -> State:
        if state is not None:
            term = term + self._convolved(state[0], 0, 3)
        enter, keep, candidate = term.chunk(3, dim=1)
        memory = enter.sigmoid() * candidate.tanh()
        if state is not None:
            memory = keep.sigmoid() * state[1] + memory
        return memory.tanh(), memory

    def _gru(self, term: Tensor, state: State | None) -> State:
        gates, candidate = term.split([2 * self.hidden, self.hidden], dim=1)
        if state is None:
            return ((1 - gates[:, : self.hidden].sigmoid()) * candidate.tanh(),)
        old = state[0]
        update, reset = (gates + self._convolved(old, 0, 2)).sigmoid().chunk(2, dim=1)
        candidate = (candidate + self._convolved(reset * old, 2, 3)).tanh()
        return (update * old + (1 - update) * candidate,)


class R2N2(nn.Module):
    """One or many views of an object to logits of its voxels.

    Args:
        family: ``"torch"`` or ``"original"``, see `recon.nets.r2n2_layout`.
        cell: ``"lstm"`` or ``"gru"``.
        kernel: 1 or 3: whether cells of the grid see their neighbours.
        residual: residual blocks in encoder and decoder.
        image: side of the images in pixels; None is the family's.
        encoder: channels of its blocks, each of which halves the image's side.
        feature: length of a view's feature vector.
        hidden: channels of a cell.
        grid: cells along a side.
        decoder: channels of its layers, one more than doublings from `grid` to `resolution`; None is the published
            128, 128, 64, 32, halved once more for every further doubling.
        resolution: voxels along a side.

    Raises:
        ConfigError: if sizes do not fit each other.
    """

    def __init__(
        self,
        family: Family = "torch",
        cell: Cell = "lstm",
        kernel: int = 3,
        residual: bool = False,
        image: int | None = None,
        encoder: Sequence[int] = (96, 128, 256, 256, 256, 256),
        feature: int = 1024,
        hidden: int = 128,
        grid: int = 4,
        decoder: Sequence[int] | None = None,
        resolution: int = 32,
    ) -> None:
        super().__init__()
        layout, stages = LAYOUTS[family], doublings(grid, resolution)
        widths = decoder or decoder_widths(hidden, stages)
        self.family, self.residual, self.resolution = family, residual, resolution
        self.encoder = Encoder(layout, encoder, feature, image or layout.image, residual)
        self.recurrence = ConvRNN(cell, kernel, feature, hidden, grid, layout.cell_bias)
        self.decoder = Decoder(layout, hidden, widths, stages, residual)
        if family == "original":
            initialize(self, self.recurrence)

    def forward(self, images: Tensor, state: State | None = None, every: bool = False) -> tuple[Tensor, State]:
        """Logits after all views.

        Args:
            images: (B, V, 3, S, S) in [0, 1].
            state: what earlier views left, from an earlier call; None is the zero state.
            every: decode after each view, too.

        Returns:
            Logits of empty and occupied (B, 2, D, H, W), or (B, V, 2, D, H, W) with `every`; and the state, to go on
            from with further views.
        """
        features = self.encode(images)
        grids, state = self.recurrence(features, state)
        if not every:
            return self.decoder(grids[:, -1]), state
        return self.decoder(grids.flatten(0, 1)).unflatten(0, grids.shape[:2]), state

    def step(self, state: State | None, image: Tensor) -> tuple[Tensor, State]:
        """One view more, at the cost of one: images (B, 3, S, S) to logits (B, 2, D, H, W) and the new state."""
        return self(image[:, None], state)

    def encode(self, images: Tensor) -> Tensor:
        """(B, V, 3, S, S) to feature vectors (B, V, feature), all views in one batch."""
        return self.encoder(images.flatten(0, 1)).unflatten(0, images.shape[:2])
