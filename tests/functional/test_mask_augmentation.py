import pytest
import torch
from torch.testing import assert_close

from skcaps.functional import MASK_AUGMENTATIONS, random_affine, random_turn

each_augmentation = pytest.mark.parametrize("name", sorted(MASK_AUGMENTATIONS))


def pairs(n=32, side=11):
    """Images whose values say what their masks are."""
    masks = torch.arange(n * side * side).reshape(n, side, side) % 7
    return masks.unsqueeze(1) / 10, masks


@pytest.mark.parametrize("name", ["flip", "turn"])
def test_masks_move_with_their_images(name):
    images, masks = pairs()
    torch.manual_seed(0)
    moved, labels = MASK_AUGMENTATIONS[name](images, masks)
    assert_close(moved[:, 0], labels / 10)
    same = (labels == masks).flatten(1).all(dim=1)
    assert 0 < same.sum() < len(same)


def test_turns_reach_all_eight_positions():
    image = torch.tensor([[[[0.1, 0.2], [0.3, 0.4]]]]).expand(200, 1, 2, 2)
    torch.manual_seed(0)
    moved, _ = random_turn(image, torch.zeros(200, 2, 2).long())
    assert len(torch.unique(moved.flatten(1), dim=0)) == 8


def test_turns_of_oblong_images_keep_their_shape():
    images, masks = torch.rand(8, 1, 3, 5), torch.zeros(8, 3, 5).long()
    moved, labels = random_turn(images, masks)
    assert moved.shape == images.shape
    assert labels.shape == masks.shape


def test_affine_maps_move_masks_with_their_images():
    side = 40
    places = torch.arange(side) - side / 2
    disc = (places[:, None] ** 2 + (places + 6) ** 2 < 64).long()
    masks = disc.expand(16, side, side)
    torch.manual_seed(0)
    moved, labels = random_affine(masks.unsqueeze(1).float(), masks)
    assert set(labels.unique().tolist()) == {-1, 0, 1}
    agree = ((moved[:, 0] > 0.5) == (labels == 1)).float().mean()
    assert agree > 0.995
    # Centres of gravity move, and areas stay about the same.
    areas = (labels == 1).sum(dim=(1, 2)) / disc.sum()
    assert 0.7 < areas.min() < areas.max() < 1.35
    columns = (labels == 1).double().mean(dim=1) @ places.double()
    assert columns.std() > 0.05


@each_augmentation
def test_draws_anew_and_the_same_for_a_seed(name):
    images, masks = pairs()
    torch.manual_seed(3)
    first = MASK_AUGMENTATIONS[name](images, masks)[0]
    second = MASK_AUGMENTATIONS[name](images, masks)[0]
    torch.manual_seed(3)
    assert_close(MASK_AUGMENTATIONS[name](images, masks)[0], first, rtol=0, atol=0)
    assert not torch.equal(first, second)


@each_augmentation
def test_says_what_is_wrong(name):
    augment = MASK_AUGMENTATIONS[name]
    images, masks = pairs()
    with pytest.raises(ValueError, match="masks must have shape"):
        augment(images, masks[1:])
    with pytest.raises(TypeError, match="must be of floating point"):
        augment(images.byte(), masks)
