"""Which of the things that were made train, validate and test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

SHARES = (0.7, 0.1, 0.2)
SPLITS = ("train", "val", "test")


def split(names: Iterable[str], seed: int = 0, shares: tuple[float, float, float] = SHARES) -> dict[str, list[str]]:
    """Part names into train, val and test, each sorted, by an order that the seed and the names alone decide.

    Each split has its share rounded, but one name at least as long as there are three; of two, one is for test.

    Args:
        names: unique.
        seed: of the order.
        shares: of the three; they sum to 1.
    """
    order = sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    count = len(order)
    test = max(round(shares[2] * count), min(1, count - 1)) if shares[2] else 0
    val = max(round(shares[1] * count), int(count > 2)) if shares[1] else 0
    train = max(count - test - val, 0)
    parts = (order[:train], order[train : train + val], order[train + val :])
    return {name: sorted(part) for name, part in zip(SPLITS, parts, strict=True)}
