"""Feedback containers and the synapse filter in one kernel against their step-by-step loops."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dvsprep.errors import UsageError
from train import functional, layer, neuron, surrogate
from train.backends import cpu
from train.backends.cpu import recurrent
from train.backends.cpu.fallback import Fallback

NODES = {"if": neuron.IFNode, "lif": lambda **k: neuron.LIFNode(tau=1.7, **k), "plif": neuron.ParametricLIFNode}


def container(
    H: int, kind: str = "if", *, seed: int = 0, grid: bool = False, **options
) -> layer.LinearRecurrentContainer:
    torch.manual_seed(seed)
    options.setdefault("surrogate_function", surrogate.ATan())
    made = layer.LinearRecurrentContainer(NODES[kind](**options), H, H, step_mode="m")
    if grid:  # sixteenths: sums are exact in any order, so not a single spike may differ
        for p in made.rc.parameters():
            p.data.copy_(torch.randint(-12, 16, p.shape) / 16)
    return made


def run(module: nn.Module, x: Tensor, backend: str, state: str) -> tuple[list[Tensor], list[Tensor]]:
    """Return outputs and state, and the gradients of input and parameters; over two calls, the state is carried."""
    module = copy.deepcopy(module)
    functional.set_backend(module, backend)
    leaf = x.clone().requires_grad_()
    half = len(x) // 2
    y = torch.cat([module(leaf[:half]), module(leaf[half:])]) if half else module(leaf)
    g = torch.Generator().manual_seed(7)
    loss = (y * torch.randn(y.shape, generator=g)).sum()
    last = module.get_submodule(state).v if state else module.y
    loss = loss + (last * torch.randn(last.shape, generator=g)).sum()
    grads = torch.autograd.grad(loss, [leaf, *module.parameters()])
    return [y.detach(), last.detach()], list(grads)


def check(module: nn.Module, x: Tensor, state: str, exact: bool = True) -> None:
    assert recurrent.why_not(x) is None
    (y, last), grads = run(module, x, "cpu", state)
    (want, want_last), expected = run(module, x, "torch", state)
    assert torch.equal(y, want) if exact else torch.allclose(y, want, atol=1e-5)
    assert torch.allclose(last, want_last, rtol=1e-5, atol=1e-5)
    for a, b in zip(grads, expected, strict=True):
        assert a.shape == b.shape
        scale = float(b.abs().max()) if b.dim() else x.numel() ** 0.5  # a scalar's terms cancel
        assert float((a - b).abs().max()) <= 1e-5 * max(scale, 1e-3)


@pytest.mark.parametrize("v_reset", [0.0, None, -0.25])
@pytest.mark.parametrize("detach_reset", [True, False])
@pytest.mark.parametrize("kind", NODES)
def test_feedback_of_every_neuron(kind: str, detach_reset: bool, v_reset: float | None) -> None:
    check(container(32, kind, detach_reset=detach_reset, v_reset=v_reset), torch.rand(28, 9, 32) * 2, "sub_module")


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 37)),
    kind=st.sampled_from(["if", "if", "lif", "plif"]),
    seed=st.integers(0, 99),
)
def test_feedback_of_any_size(shape: tuple[int, ...], kind: str, seed: int) -> None:
    module = container(shape[2], kind, seed=seed, grid=True)
    check(module, torch.randint(-8, 24, shape) / 16, "sub_module")


def test_feedback_with_more_axes_and_without_time_to_spare() -> None:
    check(container(8, grid=True), torch.randint(-8, 24, (5, 2, 3, 8)) / 16, "sub_module")
    check(container(64, grid=True), torch.randint(-8, 24, (3, 500, 64)) / 16, "sub_module")  # enough for threads


def test_feedback_says_reset_for_another_batch_and_runs_step_by_step_where_it_must() -> None:
    module = container(8)
    functional.set_backend(module, "cpu")
    x = torch.rand(4, 3, 8)
    y = module(x)
    with pytest.raises(UsageError, match="reset_net"):
        module(torch.rand(4, 2, 8))
    functional.reset_net(module)
    assert module._is_fusible(module.sub_module, x)
    assert not module._is_fusible(module.sub_module, x.double())
    assert not container(8)._is_fusible(module.sub_module.__class__(), x)  # backend torch
    wide = container(recurrent.WIDEST + 1)
    functional.set_backend(wide, "cpu")
    assert not wide._is_fusible(wide.sub_module, torch.rand(2, 1, recurrent.WIDEST + 1))
    seen = []
    module.sub_module.register_forward_hook(lambda *a: seen.append(1))
    assert torch.equal(module(x), y)
    assert len(seen) == 4


@pytest.mark.parametrize("learnable", [True, False])
@pytest.mark.parametrize("tau", [2.0, 1.7, 100.0])
def test_synapse_filter(learnable: bool, tau: float) -> None:
    x = (torch.rand(12, 5, 33) < 0.3).float()
    check(layer.SynapseFilter(tau, learnable, step_mode="m"), x, "")
    check(layer.SynapseFilter(tau, learnable, step_mode="m"), torch.randn(6, 2, 3, 4, 5), "")
    last = torch.randn(12, 3, 4, 5).contiguous(memory_format=torch.channels_last).view(6, 2, 3, 4, 5)
    check(layer.SynapseFilter(tau, learnable, step_mode="m"), last, "")


@settings(max_examples=40, deadline=None)
@given(T=st.integers(1, 9), N=st.integers(1, 3000), tau=st.sampled_from([1.1, 2.0, 7.0]), seed=st.integers(0, 9))
def test_synapse_filter_of_any_size(T: int, N: int, tau: float, seed: int) -> None:
    torch.manual_seed(seed)
    check(layer.SynapseFilter(tau, seed % 2 == 0, step_mode="m"), torch.randn(T, N), "")


def test_without_a_compiler_both_run_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(4, 3, 8)
    monkeypatch.setattr(recurrent, "kernels", lambda: Fallback("a test says so"))
    assert "a test says so" in str(recurrent.why_not(x))
    for module in (container(8), layer.SynapseFilter(2.0, step_mode="m")):
        want = copy.deepcopy(module)(x)
        functional.set_backend(module, "cpu")
        assert torch.equal(module(x), want)
    assert isinstance(cpu.kernels(), cpu.native.Native)


def test_bfloat16_autocast_keeps_the_dtypes_of_the_loop() -> None:
    x = torch.rand(6, 3, 8)
    for backend in ("torch", "cpu"):
        module = container(8, grid=True)
        functional.set_backend(module, backend)
        with torch.autocast("cpu", torch.bfloat16):
            y = module(x)
        assert y.dtype == torch.bfloat16
        y.sum().backward()
        assert module.rc.weight.grad is not None
        assert module.rc.weight.grad.dtype == torch.float32
