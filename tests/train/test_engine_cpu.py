"""The engine "cpu" against the contract of all engines: its C++ kernels, and Numba's where there is no compiler."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from engine_contract import EngineContract, inputs

from train import backends, neuron, surrogate
from train.backends import NeuronSpec, cpu, get
from train.backends.cpu import build, native
from train.backends.cpu.fallback import Fallback
from train.backends.cpu.plan import DERIVATIVES


class TestCpuEngine(EngineContract):
    engine = get("cpu")
    surrogates = DERIVATIVES
    dtypes = (torch.float32, torch.float16, torch.bfloat16)

    def test_the_kernels_are_native_here(self) -> None:
        assert isinstance(cpu.kernels(), native.Native), cpu.kernels().describe()


class TestFallback(EngineContract):
    engine = get("cpu")
    surrogates = DERIVATIVES
    dtypes = (torch.float32, torch.float16, torch.bfloat16)

    @pytest.fixture(autouse=True)
    def _numba(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cpu, "kernels", lambda: Fallback("a test says so"))


@pytest.fixture
def undecided():
    """Forget what was loaded, before and after."""
    for cached in (cpu.kernels, build.load, build._folder):
        cached.cache_clear()
    yield
    for cached in (cpu.kernels, build.load, build._folder):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"DVSPREP_NO_COMPILER": "1"}, "DVSPREP_NO_COMPILER forbids it"),
        ({"CXX": "no-such-compiler"}, "CXX=no-such-compiler was found"),
        ({"PATH": ""}, "neither g++ nor clang++"),
        ({"CXX": "broken"}, "broken failed: rows.hpp:1: error: no template"),
        ({"CXX": "silent"}, "does not load"),
    ],
)
def test_without_a_working_compiler_numba_runs_and_one_line_says_why(
    variables: dict, words: str, undecided, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog
) -> None:
    fake = {
        "broken": "echo 'rows.hpp:1: error: no template' >&2; exit 1",
        "silent": 'while [ "$1" != -o ]; do shift; done; echo x > "$2"',
    }
    for name, body in fake.items():
        script = f'#!/bin/sh\n[ "$1" = --version ] && echo {name} 1.0 && exit\n{body}\n'
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("DVSPREP_ROOT", str(tmp_path / "root"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with caplog.at_level(logging.WARNING, "train"):
        spec = NeuronSpec("lif", surrogate.ATan(), tau=2.0)
        leaves = inputs(spec, (5, 4))
        for _ in range(2):
            got = get("cpu").multi_step(spec, *leaves)
    assert torch.equal(got[0], get("torch").multi_step(spec, *leaves)[0])
    (record,) = caplog.records
    assert words in record.getMessage()
    assert words in get("cpu").describe()
    assert "Numba" in get("cpu").describe()


def test_an_unwritable_cache_folder_is_replaced_by_a_private_one(undecided, monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DVSPREP_ROOT", str(tmp_path / "file"))
    assert "C++" in get("cpu").describe()
    assert not build._folder().is_relative_to(tmp_path)


def test_many_processes_may_need_the_library_first(tmp_path: Path) -> None:
    code = "import train.backends.cpu.build as n; print(n.load()[1])"
    environment = os.environ | {"DVSPREP_ROOT": str(tmp_path)}

    def load(_: int) -> str:
        return subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        ).stdout

    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(load, range(3)))) == 1
    assert len(list((tmp_path / ".native").glob("*.so"))) == 1
    assert {p.suffix for p in (tmp_path / ".native").iterdir()} <= {".so", ".lock"}


def test_importing_compiles_nothing(tmp_path: Path) -> None:
    code = "import train, train.backends as b; b.get('cpu')"
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"DVSPREP_ROOT": str(tmp_path)}, check=True)
    assert not (tmp_path / ".native").exists()


def test_auto_takes_it_on_the_cpu_and_says_why() -> None:
    spec = neuron.LIFNode().spec
    engine, reason = backends.choose(torch.zeros(1), spec)
    assert engine.name == "cpu"
    assert "fastest" in reason
    engine, reason = backends.choose(torch.zeros(1, dtype=torch.float64), spec)
    assert engine.name == "torch"
    assert "float64" in reason


def test_one_thread_and_two_give_the_same_bits() -> None:
    spec = NeuronSpec("plif", surrogate.ATan())
    leaves = inputs(spec, (4, 3, 20_001))
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            outputs = get("cpu").multi_step(spec, *leaves)[:2]
            results.append([*outputs, *torch.autograd.grad([y.sum() for y in outputs], leaves)])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_without_gradients_nothing_is_saved() -> None:
    spec = NeuronSpec("lif", surrogate.ATan(), tau=2.0)
    x = torch.randn(4, 10)
    s_seq, _, _ = get("cpu").multi_step(spec, x, torch.zeros(10))
    assert s_seq.grad_fn is None
    with torch.no_grad():
        s_seq, _, _ = get("cpu").multi_step(spec, x.requires_grad_(), torch.zeros(10))
    assert s_seq.grad_fn is None


def test_large_outputs_that_go_past_the_caches_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = NeuronSpec("lif", surrogate.Sigmoid(), tau=1.7)
    for dtype in (torch.float32, torch.bfloat16):
        leaves = inputs(spec, (5, 3, 1027), dtype)
        results = []
        for size in (1 << 60, 0):
            monkeypatch.setattr(native, "STREAM_FROM", size)
            outputs = get("cpu").multi_step(spec, *leaves)[:2]
            results.append([*outputs, *torch.autograd.grad([y.sum() for y in outputs], leaves)])
        assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
