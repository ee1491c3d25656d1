"""A batch lies in one array, whose memory is used again only when nobody looks at it; torch copies none of it."""

from __future__ import annotations

import gc
import pickle
from pathlib import Path
from typing import Any

import making
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvsprep import cache
from dvsprep.cache import loading, memory, to_torch
from dvsprep.errors import UsageError
from dvsprep.types import FrameSpec

torch: Any = pytest.importorskip("torch", reason="torch is an extra: pip install dvsprep[train]")


@pytest.fixture
def source(sample_frames: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give frames of which even a small batch is worth keeping the memory."""
    monkeypatch.setattr(memory, "WORTH_KEEPING", 1)
    monkeypatch.setattr(to_torch, "_rings", {})
    return cache.FrameCache(sample_frames)


def digests(x: Any, y: Any) -> list[str]:
    """Return those of a batch's samples."""
    return [making.digest(np.asarray(frames), int(label)) for frames, label in zip(x, y, strict=True)]


# -- memory --


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 3000), st.booleans(), st.integers(0, 5)), max_size=30), st.booleans())
def test_memory_is_never_lent_twice(steps, shared):
    ring, held = memory.Ring(3, shared=shared and memory.can_share()), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "WORTH_KEEPING", 1)
        for value, (size, as_view, drop) in enumerate(steps):
            lent = ring.take(size)
            assert lent.size == size
            lent[:] = value % 251
            held.append((value % 251, lent.reshape(1, -1)[:, size // 2 :] if as_view else lent))
            del lent
            del held[drop : drop + 1]
            assert len(ring.slots) <= 3
            assert all((array == kept).all() for kept, array in held)


def test_memory_is_lent_again_when_the_last_view_is_gone():
    ring = memory.Ring(2)
    first = ring.take(1 << 20)
    place, view = first.ctypes.data, first[5:].reshape(-1, 1)
    del first
    assert ring.take(1 << 20).ctypes.data != place
    del view
    assert ring.take(1 << 20).ctypes.data == place
    assert ring.take(3 << 20).size == 3 << 20  # of another size


def test_a_third_shared_slot_is_made_only_where_none_comes_back(monkeypatch):
    ring = memory.Ring(16, shared=True)
    monkeypatch.setattr(memory, "PATIENCE", 60)
    held = [ring.take(1 << 20), ring.take(1 << 20)]
    monkeypatch.setattr("time.sleep", lambda _: held.clear())  # as the trainer's process may meanwhile
    assert ring.take(1 << 20).size == 1 << 20
    assert len(ring.slots) == 2
    held = [ring.take(1 << 20), ring.take(1 << 20)]
    monkeypatch.setattr(memory, "PATIENCE", 0)
    held.append(ring.take(1 << 20))
    assert len(ring.slots) == 3


# -- torch --


def test_collating_a_batch_copies_nothing_and_equals_stacking(source):
    from torch.utils.data import default_collate

    wanted = [2, 0, 5, -1, 2]
    batch = source.__getitems__(wanted)
    x, y = default_collate(batch)
    assert x.data_ptr() == batch.frames.ctypes.data
    want_x, want_y = default_collate([source[i] for i in wanted])
    assert torch.equal(x, want_x)
    assert x.dtype == want_x.dtype
    assert torch.equal(y, want_y)
    assert y.dtype == want_y.dtype


def test_a_part_of_a_batch_is_stacked(source):
    from torch.utils.data import default_collate

    batch = source.__getitems__([3, 1, 4])
    x, y = default_collate([batch[2], batch[0]])
    assert digests(x, y) == [making.digest(*source[i]) for i in (4, 3)]


def test_an_empty_batch_and_one_of_a_wrong_index(source):
    assert list(source.__getitems__([])) == []
    with pytest.raises(IndexError):
        source.__getitems__([0, len(source)])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("slots", [1, 16])
def test_batches_that_are_kept_stay_what_they_are(source, workers, slots, monkeypatch):
    monkeypatch.setattr(to_torch, "SLOTS", slots)
    loader = torch.utils.data.DataLoader(source, 3, num_workers=workers)
    batches = list(loader)
    assert [one for x, y in batches for one in digests(x, y)] == making.digests(source)
    for x, _ in batches:
        x += 1  # the consumer's own
    assert [one for x, y in batches for one in digests(x - 1, y)] == making.digests(source)


def reshaped(samples: Any) -> Any:
    """Collate into views and others: what lies in the batch's memory, and what does not."""
    x, y = torch.utils.data.default_collate(samples)
    return x.transpose(0, 1), x[1:, :, ::2], x.float().requires_grad_(), y.to(torch.int32), y


@pytest.mark.skipif(not memory.can_share(), reason="without memfd, batches travel as torch sends its own tensors")
@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_whatever_a_worker_makes_of_a_batch_arrives(source, start):
    loader = torch.utils.data.DataLoader(
        source, 4, num_workers=2, collate_fn=reshaped, persistent_workers=True, multiprocessing_context=start
    )
    for _ in range(3):
        for k, (turned, part, real, short, y) in enumerate(loader):
            x, labels = torch.utils.data.default_collate([source[i] for i in range(len(source))][4 * k : 4 * k + 4])
            assert torch.equal(turned, x.transpose(0, 1))
            assert torch.equal(part, x[1:, :, ::2])
            assert torch.equal(real, x.float())
            assert real.requires_grad
            assert torch.equal(short, labels.int())
            assert torch.equal(y, labels)


@pytest.mark.skipif(not memory.can_share(), reason="without memfd, batches travel as torch sends its own tensors")
def test_batches_of_workers_come_in_a_few_slots_which_are_forgotten_with_the_workers(source):
    to_torch._mapped.clear()
    loader, places = torch.utils.data.DataLoader(source, 2, num_workers=1, prefetch_factor=1), []
    for x, _ in loader:
        places.append(x.data_ptr())
        assert len(to_torch._mapped) <= 3
    assert 1 < len(set(places)) < len(places)
    del x
    gc.collect()
    assert to_torch._mapped == {}


def test_a_batch_of_one_thread_or_many_or_one_with_a_failure(source, monkeypatch):
    monkeypatch.setattr(loading, "WORTH_A_THREAD", 0)
    expected = making.digests(source)
    for threads in (1, 2, 5):
        monkeypatch.setattr(loading, "_pools", {})
        monkeypatch.setattr(loading, "threads", lambda n=threads: n)
        assert [making.digest(*one) for one in source.__getitems__(range(len(source)))] == expected

        def fill(some: Any, out: Any) -> None:
            if 1 in some:
                raise ValueError("sample 1")
            out[...] = some[0]

        with pytest.raises(ValueError, match="sample 1"):
            loading.batch(fill, [0, 1, 2, 3], np.zeros(4, np.int64), (2,), np.dtype(np.uint8))


def test_a_batch_is_pickled_with_its_values(source):
    batch = source.__getitems__([1, 0])
    again = pickle.loads(pickle.dumps(list(batch)))
    assert [making.digest(*one) for one in again] == [making.digest(*source[i]) for i in (1, 0)]


# -- floating frames --


@pytest.mark.parametrize("dtype", ["float32", np.float16])
@pytest.mark.parametrize("kind", ["stored", "preloaded", "on the fly", "of one duration"])
def test_floating_frames_have_the_stored_values(sample_frames, sample_events, kind, dtype):
    events = cache.EventCache(sample_events)
    source: Any = {
        "stored": lambda: cache.FrameCache(sample_frames),
        "preloaded": lambda: cache.FrameCache(sample_frames).preload(),
        "on the fly": lambda: events.frames(split_by="number", T=4),
        "of one duration": lambda: events.frames(split_by="duration", duration=4000),
    }[kind]()
    floating = source.astype(dtype)
    del source  # what it holds, such as shared memory, lasts as long as either of them
    for one in (floating, pickle.loads(pickle.dumps(floating))):
        for i, (frames, label) in enumerate(one.__getitems__(range(len(one)))):
            assert frames.dtype == dtype
            assert frames.flags.writeable
            assert one[i][0].dtype == dtype
            assert np.array_equal(one[i][0], frames)
            assert label == one.labels[i]
    unchanged = {"stored": cache.FrameCache(sample_frames)}.get(kind)
    if unchanged is not None:
        assert [making.digest(f.astype(np.uint8), y) for f, y in floating] == making.digests(unchanged)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "complex64"])
def test_frames_become_floating_types_only(sample_frames, dtype):
    with pytest.raises(UsageError, match=f"frames cannot become {dtype}"):
        cache.FrameCache(sample_frames).astype(dtype)


# -- on the fly --


@pytest.mark.parametrize("hot", [255, 256])
def test_a_batch_on_the_fly_equals_the_stored_one_and_its_items_whatever_their_types(tmp_path, hot):
    made = [making.random_events(n, seed=n) for n in (0, 1, 700)] + [making.at(*range(hot))]
    events = making.events_cache(tmp_path / "events.h5", made)
    spec = FrameSpec("number", T=1)
    stored, flown = making.frames_cache(tmp_path / "frames.h5", events, spec), events.frames(spec)
    wanted = [3, 0, 2, 1, 3]
    for source in (flown, flown.astype("float32")):
        batch = source.__getitems__(wanted)
        for i, (frames, label), (saved, its) in zip(wanted, batch, stored.__getitems__(wanted), strict=True):
            assert np.array_equal(frames, saved)
            assert frames.dtype == source[i][0].dtype
            assert label == its
    assert isinstance(flown.__getitems__(wanted), loading.Batch) == (hot == 255)
    assert flown[3][0].dtype == (np.uint8 if hot == 255 else np.uint16)
