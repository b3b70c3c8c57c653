"""Learning rates as pure functions of the step, and the Lightning form of an optimiser that follows them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch

Schedule = Callable[[int], float]


def halving(step: int, initial: float, every: int, floor: float = 0.0, factor: float = 0.5) -> float:
    """``max(initial * factor^(step // every), floor)``; constant where `every` is 0."""
    return max(initial * factor ** (step // every), floor) if every else initial


def cosine(step: int, initial: float, length: int, floor: float = 0.0) -> float:
    """From `initial` to `floor` along half a cosine of `length` steps, then level; constant where `length` is 0."""
    if not length:
        return initial
    return floor + (initial - floor) * (1 + math.cos(math.pi * min(step / length, 1))) / 2


def falling(step: int, initial: float, drops: Sequence[int], factor: float) -> float:
    """`initial`, times `factor` from each of the steps `drops` on."""
    return initial * factor ** sum(step >= drop for drop in drops)


def scheduled(
    optimizer: torch.optim.Optimizer, schedules: Sequence[Schedule], interval: Literal["step", "epoch"] = "step"
) -> dict[str, Any]:
    """What `configure_optimizers` returns, for parameter groups built with ``lr=1``.

    The base rate of 1 makes the group's rate the schedule's value to the last bit.
    """
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, list(schedules))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": interval}}
