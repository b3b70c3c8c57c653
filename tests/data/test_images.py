from __future__ import annotations

import numpy as np
import pytest

from recon.data.images import LUMA, Pixels, Preparation, recoloured
from recon.errors import ConfigError


@pytest.fixture
def views(rng) -> list[Pixels]:
    """Three views in which every pixel is different, a third of it background, a third half transparent."""
    found = []
    for _ in range(3):
        alpha = np.repeat(np.array([0, 128, 255], dtype=np.uint8), [20, 20, 20])[:, None] * np.ones((1, 50), np.uint8)
        found.append((rng.integers(0, 200, (60, 50, 3), dtype=np.uint8), alpha))
    return found


def test_the_middle_is_cut_out_at_test(views):
    images = Preparation(crop=41).test(views)
    assert images.shape == (3, 3, 41, 41)
    assert images.dtype == np.uint8
    inner = np.s_[9:50, 4:45]  # offsets are rounded down, as in the originals
    for image, (rgb, alpha) in zip(images, views, strict=True):
        background = alpha[inner] == 0
        np.testing.assert_array_equal(image.transpose(1, 2, 0)[~background], rgb[inner][~background])
        assert (image.transpose(1, 2, 0)[background] == 240).all()


def test_masks_lie_where_the_views_do(views):
    masks = Preparation(crop=41).masks(views)
    np.testing.assert_array_equal(masks[0, 0], views[0][1][9:50, 4:45])
    assert Preparation(crop=41).masks([*views, (views[0][0], None)]) is None


def test_alpha_may_be_dropped(views):
    preparation = Preparation(crop=41, background=None)
    np.testing.assert_array_equal(preparation.test(views)[1].transpose(1, 2, 0), views[1][0][9:50, 4:45])
    plain = Preparation(crop=60, place="centre", flip=0, background=None).train(
        [(np.full((60, 60, 3), 7, np.uint8), None)], np.random.default_rng()
    )
    assert (plain == 7).all()


def test_backgrounds_are_light_and_one_for_each_view_or_for_all(views):
    for shared in (False, True):
        seen = []
        for seed in range(40):
            preparation = Preparation(crop=10, place="centre", shared_background=shared)
            wide = [(np.zeros((10, 10, 3), np.uint8), np.zeros((10, 10), np.uint8))] * 3
            images = preparation.train(wide, np.random.default_rng(seed))
            assert (images == images[:, :, :1, :1]).all()
            seen.append(images[:, :, 0, 0])
        colours = np.array(seen)
        assert (colours.min(), colours.max()) == (225, 255)
        assert (colours == colours[:, :1]).all() == shared
    assert Preparation(crop=10, background=(3, 3)).train(wide, np.random.default_rng())[0, 0, 0, 0] == 3


def test_crops_lie_anywhere_but_at_the_last_place():
    """As in the original, which draws below the margin: of 137 pixels 127 begin at 0 to 9."""
    rows, columns = np.indices((12, 14))
    rgb = np.stack([rows, columns, rows], axis=-1).astype(np.uint8)
    preparation = Preparation(crop=8, flip=0)
    starts = np.array([preparation.train([(rgb, None)], np.random.default_rng(s))[0, :2, 0, 0] for s in range(200)])
    assert set(starts[:, 0]) == set(range(4))
    assert set(starts[:, 1]) == set(range(6))


def test_views_are_mirrored_each_for_itself():
    rgb = np.arange(8, dtype=np.uint8)[None, :, None] * np.ones((8, 1, 3), dtype=np.uint8)
    for flip in (0.0, 0.3, 1.0):
        preparation = Preparation(crop=8, flip=flip)
        first = np.array(
            [preparation.train([(rgb, None)] * 2, np.random.default_rng(s))[:, 0, 0, 0] for s in range(300)]
        )
        assert set(first.ravel()) <= {0, 7}
        assert (first == 7).mean() == pytest.approx(flip, abs=0.05)
        assert (first[:, 0] != first[:, 1]).any() == (0 < flip < 1)


def test_views_may_be_resized(views):
    preparation = Preparation(crop=40, size=80)
    assert preparation.test(views).shape == (3, 3, 80, 80)
    assert preparation.masks(views).shape == (3, 1, 80, 80)
    assert preparation.train(views, np.random.default_rng(0)).shape == (3, 3, 80, 80)
    flat = [(np.full((60, 50, 3), 9, np.uint8), None)]
    assert (preparation.test(flat) == 9).all()


def test_the_same_generator_gives_the_same_views(views):
    preparation = Preparation(crop=40, jitter=0.4, pca=0.1, permute=True)
    first, second = (preparation.train(views, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.dtype == np.float32
    assert first.min() >= 0
    assert first.max() <= 1


def images_of(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(100, 150, (2, 3, 6, 5), dtype=np.uint8)


def brightness(images: np.ndarray) -> float:
    return float(np.einsum("c,vchw->vhw", LUMA, images).mean())


def test_changed_colours_keep_what_they_should(rng):
    images = images_of(rng)
    grey = brightness(images.astype(np.float32) / 255)
    shared = []
    for seed in range(30):
        changed = recoloured(images, np.random.default_rng(seed), jitter=0.4, pca=0, permute=False)
        assert 0.6 - 1e-5 <= brightness(changed) / grey <= 1.4 + 1e-5
        shared.append(brightness(changed) / grey)
    assert np.ptp(shared) > 0.5
    np.testing.assert_array_equal(recoloured(images, rng, 0, 0, False), images.astype(np.float32) / 255)


def test_noise_is_one_colour_for_all_views_and_channels_change_places_together(rng):
    images = images_of(rng)
    noise = recoloured(images, rng, 0, 0.1, False) - images.astype(np.float32) / 255
    np.testing.assert_allclose(noise, np.broadcast_to(noise[0, :, :1, :1], noise.shape), atol=1e-6)
    assert np.abs(noise).max() > 1e-4
    orders = set()
    for seed in range(30):
        changed = recoloured(images, np.random.default_rng(seed), 0, 0, True)
        order = tuple(np.abs(changed[0, :, 0, 0][:, None] * 255 - images[0, :, 0, 0]).argmin(axis=1))
        np.testing.assert_allclose(changed * 255, images[:, order], atol=1e-4)
        orders.add(order)
    assert len(orders) == 6


@pytest.mark.parametrize(
    "options",
    [
        {"background": (250, 200)},
        {"background": (0, 256)},
        {"place": "left"},
        {"crop": 0},
        {"size": 0},
        {"test_background": 300},
    ],
)
def test_what_cannot_be_is_refused(options):
    with pytest.raises(ConfigError, match=f"data.{next(iter(options))}="):
        Preparation(**options)
