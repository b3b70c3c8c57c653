"""Objects to furnish rooms with: meshes of a user, their folders being the categories, or generated furniture."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from recon.data.furniture import FURNITURE
from recon.data.loading import Split
from recon.data.solids import sharp
from recon.data.synthesis.normalise import Up, normalised
from recon.data.synthesis.occupancy import Solid
from recon.data.synthesis.sources import find_meshes, named
from recon.data.synthesis.splits import SPLITS
from recon.data.synthesis.splits import split as split_names
from recon.data.synthesis.textures import Textured, read_textured
from recon.errors import ConfigError

GENERATED = "shapes"
PIECES = 12  # of each generated family
RESOLUTION = 96  # cells along the cube in which they are meshed


@dataclass(frozen=True)
class Entry:
    """An object: its `name`, the number of its category, and its file, or None if it is generated."""

    name: str
    category: int
    path: Path | None = None


@dataclass(frozen=True)
class Catalogue:
    """Objects by category.

    Attributes:
        entries: all objects, by name.
        categories: names, sorted; of the five ShapeNet classes of the published rooms, these are their numbers, too.
    """

    entries: tuple[Entry, ...]
    categories: tuple[str, ...]

    @classmethod
    def of_files(cls, files: Sequence[Path]) -> Catalogue:
        """Meshes; their folders name the categories (see `recon.data.synthesis.sources.named`)."""
        names = named(sorted(files))
        categories = sorted({group for group, _ in names})
        entries = [Entry(f"{group}/{model}", categories.index(group), f) for (group, model), f in names.items()]
        return cls(tuple(sorted(entries, key=lambda entry: entry.name)), tuple(categories))

    @classmethod
    def generated(cls) -> Catalogue:
        """Furniture of the families of ``data=shapes``, upright."""
        categories = sorted(FURNITURE)
        entries = [Entry(f"{name}_{i:02d}", n) for n, name in enumerate(categories) for i in range(PIECES)]
        return cls(tuple(entries), tuple(categories))

    def part(self, split: Split, shares: tuple[float, float, float], seed: int) -> Catalogue:
        """The objects of one split; a category of fewer than three is in all of them.

        Args:
            split: which.
            shares: of train, val and test; they sum to 1.
            seed: of who goes where.
        """
        chosen: list[Entry] = []
        for number in range(len(self.categories)):
            entries = [entry for entry in self.entries if entry.category == number]
            if self.categories[number] not in self.shared_categories():
                kept = set(split_names([entry.name for entry in entries], seed, shares)[split])
                entries = [entry for entry in entries if entry.name in kept]
            chosen += entries
        return Catalogue(tuple(chosen), self.categories)

    def shared_categories(self) -> list[str]:
        """Those of fewer than three objects, which therefore are in all splits."""
        counts = Counter(entry.category for entry in self.entries)
        return [name for number, name in enumerate(self.categories) if counts[number] < len(SPLITS)]

    def draw(self, rng: np.random.Generator) -> Entry:
        """An object: a category, then one of its objects."""
        numbers = sorted({entry.category for entry in self.entries})
        number = rng.choice(numbers)
        entries = [entry for entry in self.entries if entry.category == number]
        return entries[rng.integers(len(entries))]


@dataclass(frozen=True)
class Thing:
    """An object in the unit cube, y up: what it looks like, and what it encloses."""

    look: Textured
    solid: Solid


@lru_cache(maxsize=64)
def load(entry: Entry, up: Up = "y") -> Thing:
    """The shape of an object.

    Args:
        entry: which.
        up: the axis of its file that points up.

    Raises:
        DataError: if its file cannot be used.
        ConfigError: if it is leaky and libigl is not installed.
    """
    rng = np.random.default_rng(zlib.crc32(entry.name.encode()))
    if entry.path is None:
        family = FURNITURE[entry.name.rpartition("_")[0]]
        look = Textured.plain(sharp(family(rng), RESOLUTION))
    else:
        look = read_textured(entry.path)
    fitted = normalised(look, up if entry.path is not None else "y")
    return Thing(fitted.look, Solid(fitted.shape, rng))


def catalogue_of(source: str | None) -> Catalogue:
    """The objects that ``source=`` names: ``shapes`` for generated furniture, else meshes.

    Raises:
        ConfigError: if there are none.
    """
    if source == GENERATED:
        return Catalogue.generated()
    try:
        return Catalogue.of_files(find_meshes(source))
    except ConfigError as error:
        raise ConfigError(error.what, f"{error.mend} Or source={GENERATED}, for generated furniture.") from error
