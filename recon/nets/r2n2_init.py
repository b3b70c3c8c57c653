"""How the authors' program starts its weights; the port takes PyTorch's defaults."""

from __future__ import annotations

import math

from torch import nn

from recon.nets.r2n2_layout import SLOPE

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


def initialize_he(net: nn.Module) -> None:
    """Draw all weights so that signals keep their size through leaky ReLUs (He et al. 2015), and set biases to zero.

    From the families' own weights what an image adds to its features is soon small beside what all images share.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, SLOPE)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
