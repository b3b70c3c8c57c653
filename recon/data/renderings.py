"""ShapeNetRendering and ShapeNetVox32: 24 views of an object, and the 32^3 voxels it fills."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recon.data.base import Draw, Split
from recon.data.images import Preparation
from recon.observations import Scene


class Renderings:
    """Views and voxels of many objects, named ``synset/model``.

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
        prepare: how a view becomes a network's input.
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
    ) -> None:
        raise NotImplementedError

    def names(self, split: Split = "test") -> Sequence[str]:
        """``synset/model`` of all objects of a split, class by class, sorted."""
        raise NotImplementedError

    def load(self, name: str, split: Split = "test") -> Scene:
        """The first views (or those of `test_views`), and the `Truth`: voxels and their surface, in world coordinates."""
        raise NotImplementedError

    def item(self, name: str, split: Split, draw: Draw) -> Scene:
        """Views drawn for one item of a batch, and its `Voxels`."""
        raise NotImplementedError
