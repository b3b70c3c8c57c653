"""Fields by name, so that a method's yaml can choose among published networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from recon.errors import ConfigError
from recon.nets.activations import LeakyReLU, Softplus
from recon.nets.sdf import MLP
from recon.nets.siren import Siren
from recon.nets.value_gradient import Field

Network = Literal["authors", "nnabla", "siren"]
ActivationName = Literal["softplus", "leaky_relu", "relu", "sine"]


def build_field(
    network: Network = "authors",
    widths: Sequence[int] = (512,) * 8,
    skip: Sequence[int] = (4,),
    activation: ActivationName = "softplus",
    beta: float = 100.0,
    radius: float = 1.0,
    omega: float = 30.0,
) -> Field:
    """IGR's network in the authors' or the nnabla example's layout and initialisation, or SIREN's.

    Args:
        network: which.
        widths: of the hidden layers; SIREN's are equal.
        skip: layers that see the position again; SIREN has none.
        activation: of the hidden layers; a leaky ReLU has slope 0.1. The sine is SIREN's, and SIREN's only one.
        beta: sharpness of the softplus.
        radius: of the sphere that the authors' initialisation makes.
        omega: frequency of SIREN's sines.

    Raises:
        ConfigError: if the network is not made for such widths, skips or activations.
    """
    if network == "siren":
        return _siren(widths, skip, activation, omega)
    if activation == "sine":
        raise ConfigError("method.activation=sine needs the network 'siren'.", "Give method.network=siren.")
    function = Softplus(beta) if activation == "softplus" else LeakyReLU(0.1 if activation == "leaky_relu" else 0.0)
    if network == "nnabla":
        return MLP(widths=widths, skip=skip, activation=function, layout="position_first", initialization="he")
    return MLP(widths=widths, skip=skip, activation=function, radius=radius)


def _siren(widths: Sequence[int], skip: Sequence[int], activation: ActivationName, omega: float) -> Siren:
    if len(set(widths)) > 1:
        raise ConfigError(f"method.width={list(widths)}: SIREN's layers are of one width.", "Give one number.")
    if skip:
        raise ConfigError(f"method.skip={list(skip)}: SIREN skips nothing.", "Give method.skip=[], or method=siren.")
    if activation != "sine":
        raise ConfigError(
            f"method.activation={activation}: SIREN's is the sine.", "Give method.activation=sine, or method=siren."
        )
    return Siren(width=widths[0], depth=len(widths), omega=omega)
