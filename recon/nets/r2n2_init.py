"""How the authors' program starts its weights; the port takes PyTorch's defaults."""

from __future__ import annotations

import math

from torch import nn

BIAS = 0.1


def initialize(net: nn.Module, gates: nn.Module) -> None:
    """Draw all weights of a network from N(0, 2 / n), n the mean of inputs and outputs, and set all biases to 0.1.

    Args:
        net: the network.
        gates: its part whose layers hold three gates each. In the authors' program these are layers of their own, so
            that n counts the outputs of one; those to different cells do count.
    """
    shared = set(gates.modules())
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.Linear):
            outputs, inputs, *kernel = module.weight.shape
            if module in shared:
                outputs //= 3
            n = (inputs + outputs) * math.prod(kernel) / 2
            nn.init.normal_(module.weight, 0.0, math.sqrt(2 / n))
            if module.bias is not None:
                nn.init.constant_(module.bias, BIAS)
