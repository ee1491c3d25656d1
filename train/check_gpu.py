"""``python -m train.check_gpu``: on a machine with a GPU, the engine "cupy" against the reference, and how fast it is.

Runs the tests marked ``gpu`` from a checkout, then times forward and backward beside the torch engine on the same GPU.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from dvsprep.errors import DvsprepError, NotFoundError
from train import backends, surrogate
from train.backends import Engine, NeuronSpec

TESTS = Path("tests", "train", "cuda", "test_gpu.py")


class Case(NamedTuple):
    """A shape to time, and the ratio of torch's time to CuPy's that the peer published for it."""

    kind: str
    dtype: torch.dtype
    T: int
    N: int
    C: int
    published: float | None = None


# SpikingJelly's documentation: IF on a Quadro RTX 6000 (cupy_neuron), LIF on an RTX 4090 (triton).
CASES = [
    *(
        Case("if", dtype, T, 64, 32768, ratio)
        for dtype, ratios in (
            (torch.float32, (0.59, 1.47, 2.67, 4.17, 6.93)),
            (torch.float16, (0.68, 1.31, 2.20, 4.77, 6.70)),
        )
        for T, ratio in zip((2, 4, 8, 16, 32), ratios, strict=True)
    ),
    *(Case("lif", torch.float16, T, 64, 65536, ratio) for T, ratio in ((4, 1.48), (8, 2.58), (16, 4.45), (32, 8.07))),
    Case("lif", torch.bfloat16, 16, 64, 65536),
    Case("plif", torch.float32, 16, 64, 32768),
]


class Timing(NamedTuple):
    """Milliseconds of forward and backward, medians, and what the fused engine moves of memory a second."""

    case: Case
    torch_ms: float
    fused_ms: float
    gigabytes: float  # a second


def time_case(case: Case, reference: Engine, fused: Engine, device: torch.device, repeats: int = 20) -> Timing:
    """Time both engines in turn on the same input."""
    spec = NeuronSpec(case.kind, surrogate.ATan(), tau=2.0 if case.kind == "lif" else None)  # type: ignore[arg-type]
    g = torch.Generator().manual_seed(0)
    x = torch.randn(case.T, case.N, case.C, generator=g).to(device, case.dtype).requires_grad_()
    v = torch.zeros(case.N, case.C, device=device)
    w = torch.zeros((), device=device, requires_grad=True) if case.kind == "plif" else None
    upstream = torch.ones_like(x)

    def step(engine: Engine) -> None:
        s_seq, _, _ = engine.multi_step(spec, x, v, w)
        torch.autograd.grad(s_seq, x if w is None else (x, w), upstream)

    for engine in (reference, fused):
        step(engine)  # compiles
    times: dict[str, list[float]] = {"torch": [], "fused": []}
    for _ in range(repeats):
        for name, engine in (("torch", reference), ("fused", fused)):
            times[name].append(_milliseconds(lambda engine=engine: step(engine), device))  # type: ignore[misc]
    torch_ms, fused_ms = (statistics.median(times[name]) for name in ("torch", "fused"))
    # Forward reads x and writes s and h; backward reads the gradient and h and writes the gradient.
    moved = x.numel() * (4 * x.element_size() + 2 * 4)
    return Timing(case, torch_ms, fused_ms, moved / fused_ms / 1e6)


def _milliseconds(run: Callable[[], None], device: torch.device) -> float:
    if device.type != "cuda":
        raise ValueError(f"timed with CUDA events, got {device}")
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    start.record()
    run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end))


def table(timings: Iterator[Timing]) -> Iterator[str]:
    """Yield the lines of a Markdown table, each as soon as it is measured."""
    yield "| neuron | dtype | T x N x C | torch, ms | cupy, ms | ratio | published | GB/s |"
    yield "|---|---|---|---|---|---|---|---|"
    for case, torch_ms, fused_ms, gigabytes in timings:
        published = "" if case.published is None else f"{case.published:.2f}x"
        yield (
            f"| {case.kind} | {str(case.dtype).removeprefix('torch.')} | {case.T} x {case.N} x {case.C} "
            f"| {torch_ms:.2f} | {fused_ms:.2f} | {torch_ms / fused_ms:.2f}x | {published} | {gigabytes:.0f} |"
        )


def machine(device: torch.device) -> str:
    """Return GPU and versions in one line."""
    import cupy

    properties = torch.cuda.get_device_properties(device)
    return (
        f"{properties.name}, compute capability {properties.major}.{properties.minor}, "
        f"torch {torch.__version__}, CuPy {cupy.__version__}, {torch.cuda.device_count()} device(s)"
    )


def run_tests() -> int:
    """Run the tests marked ``gpu``; return pytest's exit code."""
    root = Path(__file__).parents[1]
    if not (root / TESTS).exists():
        raise NotFoundError(
            f"{root / TESTS}: not there", hint="the tests are in a checkout, not in the installed package"
        )
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", str(TESTS)]
    return subprocess.run(command, cwd=root, check=False).returncode


def main() -> int:
    """Check and time; return the exit code."""
    try:
        fused = backends.get("cupy")
        device = torch.device("cuda", torch.cuda.current_device())
        print(machine(device), flush=True)  # noqa: T201
        failed = run_tests()
        reference = backends.get("torch")
        for line in table(time_case(case, reference, fused, device) for case in CASES):
            print(line, flush=True)  # noqa: T201
    except DvsprepError as error:
        print(f"train.check_gpu: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
