"""3D-R2N2 as its published programs run it: view after view through the encoder, then the decoder, layer by layer.

The same parameters as `recon.nets.convrnn.R2N2` of the PyTorch family's LSTM-3, so that results can be compared.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from recon.nets.convrnn import R2N2


def straightforward(net: R2N2, images: Tensor) -> Tensor:
    """(B, V, 3, S, S) to log probabilities (B, 2, D, H, W), by the text of the paper."""
    hidden, grid = net.recurrence.hidden, net.recurrence.grid
    h = images.new_zeros(len(images), hidden, grid, grid, grid)
    c = torch.zeros_like(h)
    for image in images.unbind(dim=1):
        x = image
        for block in net.encoder.blocks:
            x = F.leaky_relu(F.max_pool2d(block.a(x), 2), 0.01)
        x = F.leaky_relu(net.encoder.fc(x.flatten(1)), 0.01)
        gates = net.recurrence.inputs(x).view(len(x), 3 * hidden, grid, grid, grid) + net.recurrence.neighbours(h)
        enter, keep, candidate = gates.split(hidden, dim=1)
        c = keep.sigmoid() * c + enter.sigmoid() * candidate.tanh()
        h = c.tanh()
    x = h
    for stage in net.decoder.stages[:-1]:
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        x = F.leaky_relu(F.conv3d(x, stage.a.weight, stage.a.bias, padding=1), 0.01)
    x = F.leaky_relu(net.decoder.stages[-1].a(x), 0.01)
    return F.log_softmax(net.decoder.output(x), dim=1)
