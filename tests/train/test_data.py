"""Datasets, samplers, collating, masks and splits."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sources import Frames
from torch.utils.data import DataLoader

from dvsprep.errors import IntegrityError, UsageError
from train import data
from train.data import Draw, EpochSampler, FrameDataset


def add_noise(frames, label, generator):
    return frames + torch.randint(0, 100, frames.shape, generator=generator, dtype=torch.uint8), label


def test_samples_are_the_source_s_in_its_integer_type():
    source = Frames()
    dataset = FrameDataset(source)
    frames, label = dataset[5]
    assert frames.dtype == torch.uint8
    np.testing.assert_array_equal(frames, source.samples[5])
    assert label == source.labels[5]
    assert len(dataset) == 24
    assert dataset.ids[:2] == ["user00_row00", "user01_row01"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int16, np.float32])
def test_every_stored_type_collates_and_becomes_float_with_its_values(dtype):
    source = Frames(dtype=dtype)
    source.samples[0][0, 0, 0, 0] = 200
    x, _, _ = data.pad_sequence_collate([FrameDataset(source)[0], FrameDataset(source)[1]])
    np.testing.assert_array_equal(x.float().numpy(), np.stack(source.samples[:2]).astype(np.float32))


def test_frames_that_cannot_be_written_to_are_copied():
    source = Frames()
    source.__class__ = type(
        "ReadOnly", (Frames,), {"__getitem__": lambda s, i: (np.broadcast_to(s.samples[i], (4, 2, 8, 8)), 0)}
    )
    assert FrameDataset(source)[0][0].shape == (4, 2, 8, 8)  # torch warns of read-only arrays, and warnings are errors


def test_a_batch_is_asked_of_the_source_at_once():
    class Service(Frames):
        def __getitems__(self, indices):
            self.asked = list(indices)
            return [(self.samples[i].copy(), int(self.labels[i])) for i in indices]

    source = Service()
    batch = next(iter(DataLoader(FrameDataset(source, indices=[3, 1, 2]), 3, collate_fn=data.pad_sequence_collate)))
    assert source.asked == [3, 1, 2]
    assert batch[1].tolist() == source.labels[[3, 1, 2]].tolist()


@pytest.mark.parametrize("wrong", [-1, 3])
def test_a_label_that_is_no_class_is_named(wrong):
    source = Frames()
    source.labels[7] = wrong
    with pytest.raises(IntegrityError, match=rf"sample 7 has label {wrong}, expected 0 to 2"):
        FrameDataset(source)


def drawn(dataset, sampler, **options):
    loader = DataLoader(dataset, 4, sampler=sampler, collate_fn=data.pad_sequence_collate, **options)
    return [x.clone() for x, _, _ in loader]


def test_what_is_random_depends_on_seed_epoch_and_sample_only():
    def epoch(number, seed=0, **options):
        sampler = EpochSampler(24, seed=seed)
        sampler.epoch = number
        return torch.cat(drawn(FrameDataset(Frames(), transform=add_noise, seed=seed), sampler, **options))

    first = epoch(1)
    torch.rand(3)  # the global generator has no say
    assert torch.equal(first, epoch(1))
    assert torch.equal(first, epoch(1, num_workers=2))
    assert torch.equal(first, epoch(1, num_workers=1, prefetch_factor=4))
    assert not torch.equal(first, epoch(2))
    assert not torch.equal(first, epoch(1, seed=1))


def test_persistent_workers_see_the_new_epoch():
    dataset, sampler = FrameDataset(Frames(8), transform=add_noise), EpochSampler(8, shuffle=False)
    loader = DataLoader(
        dataset, 4, sampler=sampler, collate_fn=data.pad_sequence_collate, num_workers=2, persistent_workers=True
    )
    seen = []
    for epoch in (1, 2, 1):
        sampler.epoch = epoch
        seen.append(torch.cat([x for x, _, _ in loader]))
    assert torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[0], seen[1])


def test_workers_share_one_source_of_real_caches(sample_caches):
    import dvsprep

    dataset = FrameDataset(dvsprep.open(sample_caches["train"]))
    one, two = (
        [(x, y) for x, y, _ in DataLoader(dataset, 8, num_workers=n, collate_fn=data.pad_sequence_collate)]
        for n in (0, 2)
    )
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(one, two, strict=True))


@given(n=st.integers(1, 40), copies=st.integers(1, 4), world=st.integers(1, 5), epoch=st.integers(0, 3))
def test_shares_of_a_sampler_are_even_and_hold_every_drawing(n, copies, world, epoch):
    shares = []
    for rank in range(world):
        sampler = EpochSampler(n, copies=copies, rank=rank, world=world)
        sampler.epoch = epoch
        shares.append(list(sampler))
        assert len(shares[-1]) == len(sampler) == math.ceil(n / world)
    whole = EpochSampler(n, copies=copies)
    whole.epoch = epoch
    dealt = list(itertools.chain.from_iterable(zip(*shares, strict=True)))
    assert dealt[:n] == list(whole)
    assert {d.epoch for d in dealt} == {epoch}
    if copies == 1:
        assert sorted(d.sample for d in dealt[:n]) == list(range(n))


def test_repeated_augmentation_draws_each_sample_several_times_in_a_row():
    draws = list(EpochSampler(8, copies=4))
    assert len(draws) == 8
    assert [d.copy for d in draws] == [0, 1, 2, 3, 0, 1, 2, 3]
    assert len({d.sample for d in draws}) == 2


def test_samples_of_unequal_length_are_padded_with_zeros():
    source = Frames(3, lengths=[2, 5, 3])
    x, y, lengths = data.pad_sequence_collate([FrameDataset(source)[i] for i in range(3)])
    assert x.shape == (3, 5, 2, 8, 8)
    assert lengths.tolist() == [2, 5, 3]
    assert y.tolist() == [0, 1, 2]
    for i, n in enumerate(lengths):
        np.testing.assert_array_equal(x[i, :n], source.samples[i])
        assert not x[i, n:].any()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6))
def test_the_mask_tells_steps_from_padding(lengths):
    mask = data.padded_sequence_mask(torch.tensor(lengths))
    assert mask.shape == (max(lengths), len(lengths))
    for n, length in enumerate(lengths):
        for t in range(max(lengths)):
            assert bool(mask[t, n]) == (t < length)
    assert torch.equal(data.padded_sequence_mask(torch.tensor(lengths), batch_first=True), mask.T)
    assert data.padded_sequence_mask(torch.tensor(lengths), 12).shape == (12, len(lengths))


def slow_split(ratio_percent, labels):
    """Return positions class by class, the first ceil(ratio n) of each class first; in whole numbers."""
    parts = [], []
    for label in sorted(set(labels)):
        members = [i for i, other in enumerate(labels) if other == label]
        cut = -(-ratio_percent * len(members) // 100)
        parts[0].extend(members[:cut])
        parts[1].extend(members[cut:])
    return parts


@settings(deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=60), st.integers(0, 100))
def test_split_takes_the_first_of_each_class_and_reads_no_frame(labels, percent):
    source = Frames(len(labels))
    source.labels = np.array(labels)
    train, test = data.split_to_train_test_set(percent / 100, source, 3)
    assert (train.indices.tolist(), test.indices.tolist()) == slow_split(percent, labels)
    assert source.reads == []


def test_a_random_split_is_the_seed_s():
    source = Frames(60)

    def parts(seed):
        return [p.indices.tolist() for p in data.split_to_train_test_set(0.7, source, 3, True, seed)]

    assert parts(1) == parts(1)
    assert parts(1) != parts(2)
    assert sorted(parts(1)[0] + parts(1)[1]) == list(range(60))
    assert np.bincount(source.labels[parts(1)[0]]).tolist() == [14, 14, 14]


def test_split_refuses_another_number_of_classes_and_no_ratio():
    with pytest.raises(UsageError, match="num_classes is 11, but the dataset has 3"):
        data.split_to_train_test_set(0.9, Frames(), 11)
    with pytest.raises(UsageError, match="train_ratio is 9"):
        data.split_to_train_test_set(9, Frames(), 3)


def test_no_user_is_on_both_sides():
    dataset = FrameDataset(Frames(24))
    kept, held, how = data.hold_out(dataset, by="user", ratio=0.25, seed=0)
    users = [data.user_of(id) for id in dataset.ids]
    assert {users[i] for i in kept}.isdisjoint({users[i] for i in held})
    assert sorted(kept + held) == list(range(24))
    assert len({users[i] for i in held}) == 1
    assert how == f"by user, {users[held[0]]} of 4 held out"


@pytest.mark.parametrize(
    ("ids", "why"),
    [([f"Train/3/{i:05}" for i in range(24)], "the sample ids name no user"), (["user01_x"] * 24, "all of user01")],
)
def test_without_users_samples_are_held_out_class_by_class_and_it_is_said(ids, why):
    dataset = FrameDataset(Frames(24, ids=ids))
    kept, held, how = data.hold_out(dataset, by="user", ratio=0.25, seed=0)
    assert np.bincount(dataset.labels[held]).tolist() == [2, 2, 2]
    assert sorted(kept + held) == list(range(24))
    assert why in how


def test_one_sample_a_class_leaves_nothing_to_hold_out():
    kept, held, _ = data.hold_out(FrameDataset(Frames(3, ids=["a", "b", "c"])), by="user", ratio=0.2, seed=0)
    assert (kept, held) == ([0, 1, 2], [])


def test_a_drawing_decides_its_generator():
    numbers = {
        float(torch.rand((), generator=data.generator(seed, Draw(sample, epoch, copy))))
        for seed, sample, epoch, copy in itertools.product(range(3), repeat=4)
    }
    assert len(numbers) == 81
