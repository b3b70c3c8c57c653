"""Networks, rays and tracers as the recorded files of Iso-Points and IDR describe them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recon.nets.idr import ImplicitNetwork
from recon.nets.idr_weights import implicit_options, rendering_options
from recon.nets.rendering_net import Layout, RenderingNetwork
from recon.rendering.sphere_tracing import SphereTracer


def arrays(path: Path, prefix: str = "") -> dict[str, torch.Tensor]:
    """Arrays below `prefix` as they are."""
    with np.load(path) as data:
        found = {key.removeprefix(prefix): data[key] for key in data.files if key.startswith(prefix)}
    return {key: torch.from_numpy(array) for key, array in found.items() if array.dtype.kind != "U"}


def config(path: Path, key: str = "config") -> dict[str, Any]:
    """The settings that a file holds as JSON."""
    with np.load(path) as data:
        return json.loads(str(data[key]))


def implicit(path: Path, squash: bool = False) -> ImplicitNetwork:
    """The network whose weights a file holds, of the architecture that their shapes tell."""
    state = arrays(path, "sd/")
    net = ImplicitNetwork(**implicit_options(path, state), squash=squash)
    net.load_state_dict(state)
    return net


def rendering(path: Path, features: int, prefix: str = "sd/", layout: Layout = "idr") -> RenderingNetwork:
    """The rendering network whose weights a file holds."""
    state = arrays(path, prefix)
    net = RenderingNetwork(features, layout=layout, **rendering_options(path, state, features))
    net.load_state_dict(state)
    return net


def seeded(path: Path) -> ImplicitNetwork:
    """The network that a file's seed and settings make."""
    settings = config(path)
    torch.manual_seed(int(arrays(path)["seed"]))
    return ImplicitNetwork(
        features=settings["feature_vector_size"],
        widths=settings["dims"],
        skip=settings["skip_in"],
        frequencies=settings["multires"],
        radius=settings["bias"],
    )


def rays_of(data: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Origins and directions (N, 3) of the cameras of a file, one after the other."""
    directions = data["ray_directions"]
    return data["cam_loc"][:, None].expand_as(directions).reshape(-1, 3), directions.reshape(-1, 3)


def tracer_of(path: Path, compat: str | None) -> SphereTracer:
    """The tracer that a file's settings make."""
    settings = config(path)
    return SphereTracer(
        radius=settings["object_bounding_sphere"],
        threshold=settings["sdf_threshold"],
        steps=settings["sphere_tracing_iters"],
        back_offs=settings["line_step_iters"],
        back_off=settings["line_search_step"],
        samples=settings["n_steps"],
        secant_steps=settings["n_secant_steps"],
        compat=compat,
    )


class Counted:
    """A field that counts what it is asked."""

    def __init__(self, field: Any) -> None:
        self.field, self.points, self.calls = field, 0, 0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.points, self.calls = self.points + len(x), self.calls + 1
        return self.field(x)
