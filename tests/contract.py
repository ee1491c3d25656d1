"""What every FrameSource owes its users: subclass FrameSourceContract and give it a fixture ``source``."""

from __future__ import annotations

import functools
import multiprocessing
import pickle
import threading
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import Any

import making
import numpy as np
import pytest

from dvsprep.types import FrameSource, FrameSpec


@functools.cache
def stranger(start: str) -> Executor:
    """Return a process that knows none of the sources; it lives as long as the test run, for it is slow to start."""
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(start))


def _in_a_child(source: Any, answers: Any) -> None:
    answers.put(making.digests(source))


def keep(batch: list[Any]) -> list[Any]:
    """Collate nothing: samples that differ in T do not stack."""
    return batch


class Numbered:
    """A torch Dataset over a source that tells its index too, so that a shuffled loader can be checked."""

    def __init__(self, source: Any) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[int, Any, int]:
        frames, label = self.source[index]
        return index, frames, label


class FrameSourceContract:
    """The suite. ``varies`` says that samples differ in T, so that batches cannot be stacked."""

    varies = False

    @pytest.fixture
    def source(self) -> Any:
        """Give the source under test, opened anew for every test."""
        raise NotImplementedError

    # -- a sequence --

    def test_it_satisfies_the_protocol(self, source: Any) -> None:
        assert isinstance(source, FrameSource)
        assert isinstance(source.spec, FrameSpec)

    def test_an_item_is_frames_and_an_int_label(self, source: Any) -> None:
        for i in range(len(source)):
            frames, label = source[i]
            assert isinstance(frames, np.ndarray)
            assert frames.ndim == 4
            assert frames.flags.c_contiguous
            assert frames.flags.writeable  # torch warns of arrays that are not
            assert type(label) is int
            assert label == source.labels[i]

    def test_labels_are_int64_indices_into_classes(self, source: Any) -> None:
        assert isinstance(source.labels, np.ndarray)
        assert source.labels.dtype == np.int64
        assert source.labels.shape == (len(source),)
        assert source.labels.min() >= 0
        assert source.labels.max() < len(source.classes)
        assert all(isinstance(name, str) for name in source.classes)

    def test_a_fixed_T_is_the_specs(self, source: Any) -> None:
        counts = {source[i][0].shape[0] for i in range(len(source))}
        assert (len(counts) > 1) == self.varies
        if source.spec.T is not None:
            assert counts == {source.spec.T}

    def test_negative_indices_count_from_the_end(self, source: Any) -> None:
        n = len(source)
        assert making.digest(*source[-1]) == making.digest(*source[n - 1])
        assert making.digest(*source[-n]) == making.digest(*source[0])

    def test_beyond_either_end_is_an_index_error(self, source: Any) -> None:
        for i in (len(source), len(source) + 100, -len(source) - 1):
            with pytest.raises(IndexError):
                source[i]

    def test_a_for_loop_ends(self, source: Any) -> None:
        assert [making.digest(*item) for item in source] == making.digests(source)

    @pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
    def test_numpy_integers_are_indices(self, source: Any, kind: Any) -> None:
        assert making.digest(*source[kind(1)]) == making.digest(*source[1])

    def test_a_fraction_is_no_index(self, source: Any) -> None:
        with pytest.raises(TypeError):
            source[1.0]

    def test_a_batch_equals_its_items(self, source: Any) -> None:
        wanted = [2, 0, len(source) - 1, 2, -1]
        batch = source.__getitems__(wanted)
        assert [making.digest(*item) for item in batch] == [making.digest(*source[i]) for i in wanted]

    def test_items_are_the_callers_own(self, source: Any) -> None:
        before = making.digest(*source[0])
        source[0][0][...] = 7
        assert making.digest(*source[0]) == before

    # -- a traveller --

    def test_it_pickles_small_and_works_after(self, source: Any) -> None:
        expected = making.digests(source)  # read first: neither handles nor frames may travel
        data = pickle.dumps(source)
        assert len(data) < 20_000
        assert making.digests(pickle.loads(data)) == expected

    @pytest.mark.parametrize("start", ["spawn", "forkserver"])
    def test_a_process_that_never_saw_it_reads_the_same(self, source: Any, start: str) -> None:
        making.digest(*source[0])
        assert stranger(start).submit(making.digests, source).result(timeout=120) == making.digests(source)

    @pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this platform cannot fork")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    def test_forked_children_read_the_same_after_the_parent_did(self, source: Any) -> None:
        expected = making.digests(source)
        context = multiprocessing.get_context("fork")
        answers = context.Queue()
        children = [context.Process(target=_in_a_child, args=(source, answers)) for _ in range(3)]
        for child in children:
            child.start()
        assert [answers.get(timeout=60) for _ in children] == [expected] * 3
        for child in children:
            child.join(60)
            assert child.exitcode == 0
        assert making.digests(source) == expected  # and the parent still can

    def test_threads_that_start_together_read_the_same(self, source: Any) -> None:
        expected = making.digests(source)
        fresh = pickle.loads(pickle.dumps(source))  # so that all of them have to open it
        barrier, found = threading.Barrier(6), []

        def work() -> None:
            barrier.wait()
            found.append(making.digests(fresh))

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert found == [expected] * 6

    # -- in torch --

    @pytest.mark.parametrize("workers", [0, 2])
    def test_a_shuffled_torch_loader_gives_every_sample(self, source: Any, workers: int) -> None:
        self.check_loader(source, workers, "fork" if workers else None)

    @pytest.mark.slow
    @pytest.mark.parametrize("start", ["spawn", "forkserver"])
    def test_a_shuffled_torch_loader_of_new_processes_gives_every_sample(self, source: Any, start: str) -> None:
        self.check_loader(source, 2, start)

    def check_loader(self, source: Any, workers: int, start: str | None, epochs: int = 2) -> None:
        """Compare (index, label, frames) of shuffled, persistent epochs with single reads."""
        torch = pytest.importorskip("torch", reason="torch is an extra: pip install dvsprep[train]")
        from torch.utils.data import DataLoader

        expected = dict(enumerate(making.digests(source)))
        loader: Any = DataLoader(
            Numbered(source),
            batch_size=3,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            multiprocessing_context=start,
            collate_fn=keep if self.varies else None,
            generator=torch.Generator().manual_seed(0),
        )
        orders = []
        for _ in range(epochs):
            found, order = {}, []
            for batch in loader:
                for i, frames, label in batch if self.varies else zip(*batch, strict=True):
                    order.append(int(i))
                    found[int(i)] = making.digest(np.asarray(frames), int(label))
            assert found == expected
            orders.append(order)
        assert sorted(orders[0]) == sorted(orders[1]) == list(range(len(source)))
        assert orders[0] != orders[1]

    @pytest.mark.parametrize("workers", [0, 2])
    def test_torch_takes_the_source_itself_and_asks_for_whole_batches(self, source: Any, workers: int) -> None:
        pytest.importorskip("torch", reason="torch is an extra: pip install dvsprep[train]")
        from torch.utils.data import DataLoader

        loader: Any = DataLoader(source, 4, num_workers=workers, collate_fn=keep if self.varies else None)
        items = [item for batch in loader for item in (batch if self.varies else zip(*batch, strict=True))]
        assert [making.digest(np.asarray(frames), int(label)) for frames, label in items] == making.digests(source)
