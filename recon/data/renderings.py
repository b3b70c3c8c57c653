"""ShapeNetRendering and ShapeNetVox32: 24 views of an object, and the 32^3 voxels it fills."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from recon.data.images import Pixels, Preparation
from recon.data.loading import Draw, Split
from recon.data.rendering_names import RenderedModels
from recon.errors import ConfigError, DataError
from recon.geometry.frames import Frame
from recon.geometry.voxel_mesh import boundary_mesh
from recon.io.binvox import Binvox, read_binvox
from recon.io.images import IMAGES, read_image
from recon.observations import Scene, Truth, Views, Voxels


class Renderings:
    """Views and voxels of many objects, named ``class/model``.

    The files are ``<images>/<class>/<model>/rendering/*.png`` and ``<voxels>/<class>/<model>/model.binvox``. A model
    that lacks one of its two folders is left out, and counted; a damaged file in it is a `DataError`.

    Args:
        images: the folder ``ShapeNetRendering``.
        voxels: the folder ``ShapeNetVox32``.
        classes: ids or names of the taxonomy; None means all that are there.
        split: ``ratio``: of each class, by sorted id, the first 80 % train, the rest validates and tests (3D-R2N2);
            or a .json file of lists (Pix2Vox's, or an object with ``train``, ``val`` and ``test``);
            or a folder that holds ``<class>/{train,val,test}.lst``.
        taxonomy: a .json file that names the classes; None means the 13 of the papers.
        views: most views of a training item; the number is drawn for a batch, uniform in `min_views`..`views`.
        min_views: fewest of them.
        replacement: draw a view again and again (Theano original), or once at most (PyTorch port, Pix2Vox).
        test_views: in validation and test: the first so many, or the numbers of the views to take.
        prepare: how a view becomes a network's input; None means as the Theano original.
        resolution: voxels along a side that the files must have.

    Raises:
        ConfigError: if a folder is not there, or an option cannot be.
    """

    def __init__(
        self,
        images: str | Path,
        voxels: str | Path,
        classes: Sequence[str] | None = None,
        split: str = "ratio",
        taxonomy: str | None = None,
        views: int = 5,
        min_views: int = 1,
        replacement: bool = True,
        test_views: int | list[int] = 5,
        prepare: Preparation | None = None,
        resolution: int = 32,
    ) -> None:
        if not 1 <= min_views <= views:
            raise ConfigError(
                f"data.min_views={min_views}, data.views={views}: there is no number from the first to the second.",
                "Give 1 <= min_views <= views.",
            )
        chosen = list(range(test_views)) if isinstance(test_views, int) else list(test_views)
        if not chosen or min(chosen) < 0:
            raise ConfigError(f"data.test_views={test_views}: these are no views.", "Give a number, or a list from 0.")
        self.models = RenderedModels(images, voxels, classes, split, taxonomy)
        self.views, self.min_views, self.replacement, self.test_views = views, min_views, replacement, chosen
        self.prepare, self.resolution = prepare or Preparation(), resolution

    def names(self, split: Split = "test") -> Sequence[str]:
        """``class/model`` of all objects of a split, class by class, in the order of the split's list, or sorted."""
        return self.models.names[split]

    def load(self, name: str, split: Split = "test") -> Scene:
        """The views of `test_views`, and the `Truth`: voxels and their surface, in world coordinates.

        The views' frame takes the cube [-0.5, 0.5]^3, which the voxels fill, to the world.

        Raises:
            DataError: naming the file.
        """
        voxels, frame = self._filled(name)
        files = self._files(name, self.test_views)
        pixels = self._decoded(files)
        masks = self.prepare.masks(pixels)
        observation = Views(
            torch.from_numpy(self.prepare.test(pixels)),
            None if masks is None else torch.from_numpy(masks),
            frame,
            name,
            tuple(Path(file).name for file in files),
        )
        grid = Voxels(torch.from_numpy(voxels.grid).float(), frame)
        return Scene(
            observation, Truth(boundary_mesh(voxels.grid, frame), voxels=grid), category=self.models.category(name)
        )

    def item(self, name: str, split: Split, draw: Draw) -> Scene:
        """Views drawn for one item of a batch (in training; else those of `test_views`), and its `Voxels`.

        Raises:
            DataError: naming the file.
        """
        voxels, frame = self._filled(name)
        if split == "train":
            rng = draw.rng()
            images = self.prepare.train(self._decoded(self._drawn(name, draw, rng)), rng)
        else:
            images = self.prepare.test(self._decoded(self._files(name, self.test_views)))
        observation = Views(torch.from_numpy(images), None, frame, name)
        return Scene(
            observation, Voxels(torch.from_numpy(voxels.grid).float(), frame), category=self.models.category(name)
        )

    def _drawn(self, name: str, draw: Draw, rng: np.random.Generator) -> list[str]:
        """Views of an object, as many as of the others in its batch."""
        wanted = int(draw.batch_rng().integers(self.min_views, self.views + 1))
        files = self._files(name, range(1 if self.replacement else wanted), every=True)
        numbers = rng.integers(0, len(files), wanted) if self.replacement else rng.permutation(len(files))[:wanted]
        return [files[int(number)] for number in numbers]

    def _files(self, name: str, wanted: Sequence[int], every: bool = False) -> list[str]:
        """The wanted images of an object by their numbers, sorted by name; or every one, if those are among them.

        Raises:
            DataError: if one of them is not there.
        """
        place = f"{self.models.images}/{name}/rendering"
        try:
            with os.scandir(place) as entries:
                found = sorted(entry.name for entry in entries if entry.name.lower().endswith(IMAGES))
        except OSError as error:
            raise DataError(f"'{place}': {error.strerror}.", "Fetch or make the views of this object again.") from error
        if max(wanted) >= len(found):
            raise DataError(
                f"'{place}': view {max(wanted)} is wanted, of {len(found)} counted from 0.",
                "Fetch the views again, or ask for fewer with data.views and data.test_views.",
            )
        return [f"{place}/{found[number]}" for number in (range(len(found)) if every else wanted)]

    def _decoded(self, files: Sequence[str]) -> list[Pixels]:
        """Views, each decoded once, however often it was drawn."""
        pixels = {file: self._pixels(file) for file in set(files)}
        return [pixels[file] for file in files]

    def _pixels(self, file: str) -> Pixels:
        rgb, alpha = read_image(file)
        if min(rgb.shape[:2]) < self.prepare.crop:
            raise DataError(
                f"'{file}': of {rgb.shape[1]} x {rgb.shape[0]} pixels {self.prepare.crop} x {self.prepare.crop} "
                "cannot be cut out.",
                "Give larger views, or a smaller data.crop.",
            )
        return rgb, alpha

    def _filled(self, name: str) -> tuple[Binvox, Frame]:
        """The voxels of an object, and the frame of their cube."""
        file = self.models.voxels / name / "model.binvox"
        voxels = read_binvox(file)
        side = len(voxels.grid)
        if side != self.resolution:
            raise DataError(
                f"'{file}': dim: {side} voxels along a side, not {self.resolution}.", "Make the voxels again."
            )
        if not voxels.grid.any():
            raise DataError(f"'{file}': data: no voxel is filled.", "Make the voxels again.")
        return voxels, Frame(voxels.scale, translation=voxels.translate + voxels.scale / 2)
