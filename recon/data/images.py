"""How a rendered view becomes a network's input: background, crop, flip, colours."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preparation:
    """What is done to the views of an object; the defaults are those of the Theano 3D-R2N2.

    Training draws, view by view: background (3 channels), row and column of the crop, flip. At test the crop is the
    middle, the background `test_background`, and nothing else is done.

    Args:
        crop: side of the square that is cut out, in pixels (127; 128 in the PyTorch port and in Pix2Vox).
        place: where it is cut out in training: ``random`` or ``centre``.
        size: side to which it is then resized; None leaves it.
        background: darkest and lightest value of each channel of the colour put where alpha is 0, in training;
            None drops alpha, at test too: what was stored under it is seen.
        test_background: grey put there at test.
        shared_background: one colour for all views of an object (Pix2Vox), or one for each view.
        flip: probability that a view is mirrored. The voxels are not, as in all originals.
        jitter: brightness, contrast and saturation change by up to this share (Pix2Vox: 0.4).
        pca: spread of the noise along the principal colours of ImageNet (Pix2Vox: 0.1).
        permute: put the three channels into a random order (Pix2Vox).
    """

    crop: int = 127
    place: str = "random"
    size: int | None = None
    background: tuple[int, int] | None = (225, 255)
    test_background: int = 240
    shared_background: bool = False
    flip: float = 0.5
    jitter: float = 0.0
    pca: float = 0.0
    permute: bool = False
