"""Augmentations: what they may change and what not."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dvsprep.datasets import dvs128
from dvsprep.errors import UsageError
from train import augment
from train.data import Draw, generator

GESTURES = (
    "hand clapping", "right hand wave", "left hand wave", "right arm clockwise", "right arm counter-clockwise",
    "left arm clockwise", "left arm counter-clockwise", "arm roll", "air drums", "air guitar", "other gestures",
)  # fmt: skip
ALL = [
    augment.RandomTemporalDelete(3),
    augment.RandomShift(3),
    augment.RandomAffine(),
    augment.RandomErase(1.0),
    augment.RandomFlip(GESTURES, 1.0),
]


def frames(T=5, H=12, W=10, seed=0):
    return torch.randint(0, 250, (T, 2, H, W), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def at(seed):
    return generator(seed, Draw(0))


@pytest.mark.parametrize("transform", ALL, ids=lambda t: type(t).__name__)
def test_each_is_a_function_of_its_generator_and_leaves_its_input_alone(transform):
    x = frames()
    before = x.clone()
    (first, label), (again, label_again) = transform(x, 1, at(3)), transform(x, 1, at(3))
    assert torch.equal(first, again)
    assert label == label_again
    assert torch.equal(x, before)
    assert first.dtype == x.dtype
    assert first.shape[1:] == x.shape[1:]
    assert any(not torch.equal(first[:3], transform(x, 1, at(seed))[0][:3]) for seed in range(4, 9)) or isinstance(
        transform, augment.RandomFlip
    )


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float32])
@pytest.mark.parametrize("transform", ALL, ids=lambda t: type(t).__name__)
def test_each_takes_every_type(transform, dtype):
    assert transform(frames().to(dtype), 1, at(0))[0].dtype == dtype


@given(st.integers(0, 1000), st.integers(1, 5))
def test_temporal_delete_keeps_the_order(seed, kept):
    x = torch.arange(5)[:, None, None, None]
    found = augment.RandomTemporalDelete(kept)(x, 0, at(seed))[0].flatten().tolist()
    assert len(found) == kept
    assert found == sorted(set(found))


def test_temporal_delete_cannot_keep_more_than_there_is():
    with pytest.raises(UsageError, match="T_remain is 9, but the sample has 5"):
        augment.RandomTemporalDelete(9)(frames(), 0, at(0))


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(0, 14))
def test_shift_moves_every_pixel_alike_or_off_the_sensor(seed, pixels):
    x = frames()
    moved = augment.RandomShift(pixels)(x, 0, at(seed))[0]
    g = at(seed)
    dy, dx = (int(torch.randint(-pixels, pixels + 1, (), generator=g)) for _ in range(2))
    for row in range(12):
        for column in range(10):
            inside = 0 <= row - dy < 12 and 0 <= column - dx < 10
            expected = x[..., row - dy, column - dx] if inside else torch.zeros(5, 2, dtype=torch.uint8)
            assert torch.equal(moved[..., row, column], expected)


def test_affine_without_any_change_is_none():
    x = frames()
    assert torch.equal(augment.RandomAffine(0, 0, 0)(x, 0, at(0))[0], x)


def test_affine_turns_about_the_middle():
    x = torch.zeros(1, 1, 9, 9, dtype=torch.uint8)
    x[..., 4, 8] = 7  # east
    turned = [augment.RandomAffine(90, 0, 0)(x, 0, at(seed))[0] for seed in range(40)]
    for y in turned:
        (row, column), *_ = (y[0, 0] == 7).nonzero().tolist() or [[4, 8]]
        assert 3.3 <= ((row - 4) ** 2 + (column - 4) ** 2) ** 0.5 <= 4.7
    assert len({tuple((y[0, 0] == 7).nonzero().flatten().tolist()) for y in turned}) > 5


@given(st.integers(0, 1000))
def test_erase_empties_one_box_in_all_frames_alike(seed):
    x = frames() + 1
    erased = augment.RandomErase(1.0)(x, 0, at(seed))[0]
    gone = erased == 0
    assert (gone == gone[0, 0]).all()
    rows, columns = gone[0, 0].any(1).nonzero().flatten(), gone[0, 0].any(0).nonzero().flatten()
    assert int(gone[0, 0].sum()) == len(rows) * len(columns)
    assert torch.equal(erased[~gone], x[~gone])


def test_the_gestures_are_the_dataset_s():
    assert tuple(dvs128.CLASSES) == GESTURES


@pytest.mark.parametrize(
    ("name", "mirrored"),
    [
        ("right hand wave", "left hand wave"),
        ("right arm clockwise", "left arm counter-clockwise"),
        ("right arm counter-clockwise", "left arm clockwise"),
        ("hand clapping", "hand clapping"),
        ("arm roll", "arm roll"),
        ("air drums", "air drums"),
        ("air guitar", "air guitar"),
        ("other gestures", "other gestures"),
    ],
)
def test_a_mirrored_gesture_has_the_class_of_its_mirror_image(name, mirrored):
    flip = augment.RandomFlip(GESTURES, 1.0)
    x = frames()
    flipped, label = flip(x, GESTURES.index(name), at(0))
    assert GESTURES[label] == mirrored
    assert torch.equal(flipped, torch.flip(x, (-1,)))
    back, label = flip(flipped, label, at(0))
    assert GESTURES[label] == name
    assert torch.equal(back, x)


def test_other_spellings_of_the_words_are_known():
    classes = ["Left_Arm_CounterClockwise", "right_arm_clockwise", "bright light", "left arm clockwise"]
    assert augment.mirrored_labels([*classes, "Right arm counter-clockwise"]) == [1, 0, 2, 4, 3]


@pytest.mark.parametrize(
    ("classes", "why"),
    [(("0", "1", "2"), "flip does not go with digits"), (("left hand wave", "clap"), "is no class|which is no class")],
)
def test_flip_refuses_classes_without_mirror_images(classes, why):
    with pytest.raises(UsageError, match=why):
        augment.RandomFlip(classes)


def test_compose_runs_them_in_order():
    x, label = augment.Compose([augment.RandomFlip(GESTURES, 1.0), augment.RandomTemporalDelete(2)])(frames(), 1, at(0))
    assert (x.shape[0], label) == (2, 2)
