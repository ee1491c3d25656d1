"""What only a GPU can tell: ``python -m train.check_gpu`` runs what is marked ``gpu`` here, and nothing else does.

The same lines run without the mark on the stand-in, so that they are known to work before they meet a GPU.
"""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from engine_contract import EngineContract, inputs
from standin_cupy import StandIn, World
from torch import Tensor

import train.backends.cupy as engine_module
from train import backends, check_gpu, surrogate
from train.backends import Engine, NeuronSpec
from train.backends.cupy import DERIVATIVES, CupyEngine
from train.check_gpu import Case, Timing

LIF = NeuronSpec("lif", surrogate.ATan(), tau=2.0)


class Moved:
    """An engine that takes tensors on the CPU to its device and brings what it returns back."""

    name = "cupy"

    def __init__(self, engine: Engine, device: torch.device) -> None:
        self.engine, self.device = engine, device

    def why_not(self) -> Exception | None:
        return self.engine.why_not()

    def refuses(self, spec: NeuronSpec, x: Tensor) -> str | None:
        return self.engine.refuses(spec, x.to(self.device))

    def multi_step(self, spec: NeuronSpec, x_seq: Tensor, v: Tensor, w: Tensor | None = None, **options: bool):
        there = [t if t is None else t.to(self.device) for t in (x_seq, v, w)]
        return tuple(t if t is None else t.cpu() for t in self.engine.multi_step(spec, *there, **options))  # type: ignore[misc]


class DeviceContract(EngineContract):
    """The contract of all engines on a device, against loops on the CPU: bits, and gradients within 1e-5."""

    surrogates = tuple(DERIVATIVES)
    device: ClassVar[torch.device]

    @pytest.fixture(autouse=True)
    def _sigmoid_of_the_cpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # The last bit of PLIF's 1/tau is torch's affair, and its CPU and CUDA kernels need not agree on it.
        here = self.device

        def inverse_tau(w: Tensor, dtype: torch.dtype) -> Tensor:
            return backends.inverse_tau(w.detach().cpu(), dtype).to(here)

        monkeypatch.setattr(engine_module, "inverse_tau", inverse_tau)


def test_moving_to_a_device_and_back_changes_nothing(world: World) -> None:
    probe = DeviceContract()
    probe.engine = Moved(CupyEngine(StandIn(world)), torch.device("cpu"))  # type: ignore[misc]
    probe.test_only_the_gradients_that_are_asked_for("xv")
    for spec in (LIF, NeuronSpec("plif", surrogate.ATan())):
        probe.check(spec, inputs(spec, (4, 3, 5)))


@pytest.mark.gpu
class TestOnTheGpu(DeviceContract):
    @pytest.fixture(autouse=True)
    def _engine(self) -> None:
        type(self).device = torch.device("cuda", torch.cuda.current_device())
        type(self).engine = Moved(backends.get("cupy"), self.device)


def run(engine: Engine, spec: NeuronSpec, leaves: list[Tensor]) -> list[Tensor]:
    s_seq, v_last, _ = engine.multi_step(spec, *leaves)
    return [s_seq, v_last, *torch.autograd.grad(s_seq.sum() + v_last.sum(), leaves)]


def leaves_on(device: torch.device, spec: NeuronSpec, shape: tuple[int, ...]) -> list[Tensor]:
    return [leaf.detach().to(device).requires_grad_() for leaf in inputs(spec, shape)]


def equals_torch(engine: Engine, device: torch.device) -> None:
    """Against the torch engine on the same device: spikes and potentials to the bit, gradients within 1e-5."""
    for spec in (LIF, NeuronSpec("if", surrogate.Sigmoid(), v_reset=None), NeuronSpec("plif", surrogate.ATan())):
        leaves = leaves_on(device, spec, (16, 32, 1000))
        for i, (got, want) in enumerate(
            zip(run(engine, spec, leaves), run(backends.get("torch"), spec, leaves), strict=True)
        ):
            if i < 2:
                assert torch.equal(got, want), spec
            else:
                torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5 * float(want.abs().max()))


@pytest.mark.gpu
def test_it_equals_the_torch_engine_on_the_gpu() -> None:
    equals_torch(backends.get("cupy"), torch.device("cuda", torch.cuda.current_device()))


def test_it_equals_the_torch_engine_on_the_stand_in(world: World) -> None:
    equals_torch(CupyEngine(StandIn(world)), torch.device("cpu"))


@pytest.mark.gpu
def test_the_tau_gradient_has_the_same_bits_every_time() -> None:
    spec = NeuronSpec("plif", surrogate.ATan())
    leaves = leaves_on(torch.device("cuda"), spec, (16, 64, 32768))
    first = run(backends.get("cupy"), spec, leaves)
    for _ in range(5):
        assert all(torch.equal(a, b) for a, b in zip(run(backends.get("cupy"), spec, leaves), first, strict=True))


@pytest.mark.gpu
def test_kernels_wait_for_what_is_on_torchs_current_stream() -> None:
    engine, device = backends.get("cupy"), torch.device("cuda", torch.cuda.current_device())
    leaves = leaves_on(device, LIF, (16, 64, 4096))
    expected = run(engine, LIF, leaves)
    x, v = (torch.zeros_like(leaf) for leaf in leaves)
    busy = torch.randn(4096, 4096, device=device)
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        for _ in range(50):
            busy = busy @ busy / 64  # keeps this stream busy; a kernel on another one would see zeros
        x.copy_(leaves[0].detach())
        v.copy_(leaves[1].detach())
        got = run(engine, LIF, [x.requires_grad_(), v.requires_grad_()])
    torch.cuda.synchronize()
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


@pytest.mark.gpu
def test_every_device_computes_and_the_current_one_stays() -> None:
    engine, count = backends.get("cupy"), torch.cuda.device_count()
    torch.cuda.set_device(count - 1)
    results = []
    for i in range(count):
        outputs = run(engine, LIF, leaves_on(torch.device("cuda", i), LIF, (4, 8, 100)))
        assert all(t.get_device() == i for t in outputs)
        results.append([t.cpu() for t in outputs])
        assert torch.cuda.current_device() == count - 1
        assert torch.zeros(1, device="cuda").get_device() == count - 1
    assert all(torch.equal(a, b) for got in results for a, b in zip(got, results[0], strict=True))


@pytest.mark.gpu
def test_a_captured_graph_replays_the_kernels() -> None:
    engine = backends.get("cupy")
    x, v = (leaf.detach() for leaf in leaves_on(torch.device("cuda"), LIF, (4, 8, 100)))
    expected = engine.multi_step(LIF, x, v)[0].clone()  # compiled before the capture
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        s_seq, _, _ = engine.multi_step(LIF, x, v)
    s_seq.zero_()
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(s_seq, expected)


# The script itself.


def test_without_a_gpu_the_script_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(None, devices=0)  # type: ignore[arg-type]
    monkeypatch.setattr(engine_module, "ENGINE", CupyEngine(StandIn(world)))
    backends.get.cache_clear()
    assert check_gpu.main() == 8
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith(
        "train.check_gpu: backend cupy cannot be used here: RuntimeError: CuPy finds no CUDA"
    )


def test_the_table_has_a_line_for_each_case(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def milliseconds(run, device: torch.device) -> float:
        run()
        return 2.0

    monkeypatch.setattr(check_gpu, "_milliseconds", milliseconds)
    cases = [Case("lif", torch.float16, 4, 2, 100, 1.48), Case("plif", torch.float32, 3, 2, 50)]
    engines = backends.get("torch"), CupyEngine(StandIn(world))
    timings = [check_gpu.time_case(case, *engines, torch.device("cpu"), repeats=2) for case in cases]
    assert timings[0] == Timing(cases[0], 2.0, 2.0, 800 * 16 / 2.0 / 1e6)
    lines = list(check_gpu.table(iter(timings)))
    assert lines[2] == "| lif | float16 | 4 x 2 x 100 | 2.00 | 2.00 | 1.00x | 1.48x | 0 |"
    assert lines[3] == "| plif | float32 | 3 x 2 x 50 | 2.00 | 2.00 | 1.00x |  | 0 |"
    assert [name for name, *_ in world.launches].count("backward") == 2 * 3


def test_the_marked_tests_are_collected_from_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = []

    class Done:
        returncode = 0

    def ran(command: list[str], **options: object) -> Done:
        commands.append((command, options))
        return Done()

    monkeypatch.setattr(check_gpu.subprocess, "run", ran)
    assert check_gpu.run_tests() == 0
    ((command, options),) = commands
    assert command[1:5] == ["-m", "pytest", "-m", "gpu"]
    assert (options["cwd"] / command[-1]).samefile(__file__)  # type: ignore[operator]
