"""What a script does to its process before it trains."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from train import memory

FAULTS = """
import resource, torch
from train import memory
{call}
def step():
    x = torch.ones(16 << 20)
    return x.sum()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10): step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
for _ in range(8): step()
print(min(faults() for _ in range(3)))  # the system may take a page from anybody, but not each time
"""


def child(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_a_step_that_frees_and_asks_again_causes_no_page_faults() -> None:
    before, after = (int(child(FAULTS.format(call=call))) for call in ("", "assert memory.keep_freed_memory()"))
    assert before > 10_000  # 64 MiB, ten times, in pages of 4 KiB; huge pages would need far fewer
    assert after < before / 100


ALIGNED = """
import torch
from train import dvsg, memory
memory.keep_freed_memory()
print(torch.empty(16 << 20).data_ptr() % 4096)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="huge pages are asked for by madvise")
def test_large_tensors_lie_in_huge_pages_unless_the_user_says_no() -> None:
    assert child(ALIGNED, THP_MEM_ALLOC_ENABLE="0") != "0"
    environment = {key: value for key, value in os.environ.items() if key != "THP_MEM_ALLOC_ENABLE"}
    done = subprocess.run([sys.executable, "-c", ALIGNED], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"  # torch aligns to pages what it asks huge ones for


def test_it_says_what_it_did_and_importing_changes_nothing() -> None:
    words = child("from train import memory; print(memory.prepare())")
    assert "thread" in words
    assert ("kept" in words) == sys.platform.startswith("linux")
    code = "import torch; n = torch.get_num_threads(); import train.memory; assert torch.get_num_threads() == n"
    child(code)


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 8), ("150000 100000", 2), ("50000 100000", 1), ("9900000 100000", 8), ("rubbish", 8), (None, 8)],
)
def test_cores_are_those_of_the_container(
    quota: str | None, expected: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota + "\n")
    monkeypatch.setattr(memory, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert memory.cores() == expected


def test_the_user_s_own_number_of_threads_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "cores", lambda: 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    before = torch.get_num_threads()
    assert memory.set_threads() == before
    assert child("import train.memory as m; m.cores = lambda: 1; print(m.set_threads())", OMP_NUM_THREADS="2") == "2"
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert child("import train.memory as m; m.cores = lambda: 1; print(m.set_threads())") == "1"
