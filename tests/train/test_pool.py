"""The memory of the engine's large outputs: used again, never by two tensors at once, and bounded."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from train import functional, memory, neuron, surrogate
from train.backends.cpu import layout, pool

pytestmark = pytest.mark.skipif(not hasattr(mmap, "MAP_ANONYMOUS"), reason="there is no pool without private mappings")
MIB = 1 << 20


@pytest.fixture(autouse=True)
def empty_pool():
    memory.release()
    yield
    memory.release()


def make(mib: int) -> Tensor:
    return pool.empty((mib, MIB), torch.uint8, (MIB, 1))


def test_a_block_is_used_again_when_its_last_view_is_gone() -> None:
    first = make(6)
    place, view = first.data_ptr(), first[2:].view(-1)
    del first
    assert pool.POOL.idle_bytes() == 0
    second = make(6)
    assert second.data_ptr() != place
    del view
    assert pool.POOL.idle_bytes() == 6 * MIB
    third = make(6)
    assert third.data_ptr() == place
    assert third._base is None  # no view: it may be changed in place
    assert make(8).data_ptr() not in (place, second.data_ptr())


def test_small_tensors_are_none_of_its_business() -> None:
    make(1)
    assert pool.POOL.idle_bytes() == 0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(4, 8), st.integers(0, 5), st.booleans()), max_size=40))
def test_no_two_tensors_share_memory(steps: list[tuple[int, int, bool]]) -> None:
    alive: list[tuple[Tensor, int]] = []
    for number, (mib, victim, as_view) in enumerate(steps):
        if len(alive) > victim:
            alive.pop(victim)
        x = make(mib).view(-1)[::4096]  # a number in each page
        x.fill_(number)
        alive.append((x[1::7] if as_view else x, number))
        assert all(bool((kept == value).all()) for kept, value in alive)


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "IDLE_BYTES", 20 * MIB)
    alive = [make(4) for _ in range(8)]
    del alive
    assert pool.POOL.idle_bytes() == 20 * MIB
    make(22)  # more than may wait in all
    assert pool.POOL.idle_bytes() == 20 * MIB
    monkeypatch.setattr(pool, "IDLE_BLOCKS", 2)
    make(6)
    assert pool.POOL.idle_bytes() == (4 + 6) * MIB  # the oldest went
    monkeypatch.setattr(pool, "IDLE_REQUESTS", 3)
    for _ in range(5):
        make(6)
    assert pool.POOL.idle_bytes() == 6 * MIB  # 4 MiB had been asked for too long ago
    memory.release()
    assert pool.POOL.idle_bytes() == 0


def test_many_shapes_leave_no_more_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "IDLE_BYTES", 32 * MIB)
    node = neuron.LIFNode(surrogate_function=surrogate.ATan(), step_mode="m", backend="cpu")
    for width in range(1, 13):
        x = torch.randn(4, 8, 1, 256, 128 + 16 * width, requires_grad=True)
        functional.reset_net(node)
        node(x).sum().backward()
        del x
        assert pool.POOL.idle_bytes() <= 32 * MIB


def test_without_memory_what_waits_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    real, refusals = mmap.mmap, [1]
    make(4)

    def full(*args, **kwargs):
        if refusals:
            refusals.pop()
            raise OSError(12, "Cannot allocate memory")
        return real(*args, **kwargs)

    monkeypatch.setattr(mmap, "mmap", full)
    x = make(6)
    assert x.numel() == 6 * MIB
    assert pool.POOL.idle_bytes() == 0
    refusals += [1, 1]
    with pytest.raises(MemoryError, match="10,485,760 bytes"):
        make(10)


def test_threads_do_not_meet() -> None:
    def work(number: int) -> bool:
        for _ in range(40):
            x = make(4 + number % 2).view(-1)[::512]
            x.fill_(number)
            if not bool((x == number).all()):
                return False
        return True

    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(work, range(6)))


FORKED = """
import os, torch
torch.set_num_threads(1)  # as in a reader process: OpenMP does not survive a fork
from train.backends.cpu import pool
make = lambda: pool.empty((4, 1 << 20), torch.uint8, (1 << 20, 1))
kept, gone = make(), make()
kept.fill_(1)
place = gone.data_ptr()
del gone
child = os.fork()
if child == 0:
    kept.fill_(2)
    os._exit(0 if pool.POOL.idle_bytes() == 0 and bool((make().fill_(3) == 3).all()) else 1)
assert os.waitpid(child, 0)[1] == 0
assert bool((kept == 1).all())
assert make().data_ptr() == place
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_process_has_its_own() -> None:
    subprocess.run([sys.executable, "-c", FORKED], check=True, timeout=120)


def test_outputs_that_are_alive_are_not_written_to_by_later_steps() -> None:
    node = neuron.LIFNode(surrogate_function=surrogate.ATan(), step_mode="m", backend="cpu", store_v_seq=True)
    x = torch.randn(4, 8, 4, 128, 128)
    held, copies = [], []
    for k in range(4):
        functional.reset_net(node)
        leaf = (x + k).requires_grad_()
        spikes = node(leaf)
        spikes.square().sum().backward()
        found = [spikes.detach(), node.v.detach(), node.v_seq.detach(), leaf.grad]
        held.append(found)
        copies.append([each.clone() for each in found])
        if k == 1:
            held.pop(0)
            copies.pop(0)
    for found, copied in zip(held, copies, strict=True):
        assert all(map(torch.equal, found, copied))
    places = [each.data_ptr() for found in held for each in found]
    assert len(set(places)) == len(places)


def test_an_output_may_be_changed_in_place() -> None:
    x = torch.randn(4, 8, 4, 128, 128, requires_grad=True)
    spikes = neuron.IFNode(surrogate_function=surrogate.ATan(), step_mode="m", backend="cpu")(x)
    spikes.mul_(2).sum().backward()
    assert bool(x.grad.any())


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_shapes_and_strides_are_torch_s(form: torch.memory_format) -> None:
    for shape in ((3, 4, 5, 6), (64, 32, 64, 64), (2, 1, 7, 1), (8, 4, 16, 64, 64)):
        x = layout.empty(torch.Size(shape), torch.float32, form)
        assert x.shape == shape
        assert x.flatten(0, -4).is_contiguous(memory_format=form)
        assert x.stride() == torch.empty((1, *shape))[0].stride() or form is torch.channels_last
