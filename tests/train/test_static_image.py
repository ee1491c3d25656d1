"""A static image, one step shown at all times by ``expand``: computed once, with the numbers of equal copies."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from train import functional, layer, neuron, surrogate
from train.functional import step_of_all
from train.fused import fuse

NODES = {"if": neuron.IFNode, "lif": lambda **k: neuron.LIFNode(tau=1.7, **k), "plif": neuron.ParametricLIFNode}


def make(C: int, kind: str, *, pool: bool = True, **options) -> nn.Sequential:
    torch.manual_seed(1)
    node = NODES[kind](surrogate_function=surrogate.ATan(), **options)
    net = nn.Sequential(layer.Conv2d(2, C, 3, padding=1), layer.BatchNorm2d(C), node, *[layer.MaxPool2d(2, 2)] * pool)
    functional.set_step_mode(net, "m")
    functional.set_backend(net, "torch")
    return net


def run(net: nn.Sequential, x: Tensor, T: int, *, expanded: bool) -> dict[str, Tensor]:
    """Return spikes, potential, buffers and gradients of T equal steps, expanded or copied."""
    leaf = x.clone().requires_grad_()
    s_seq = net(leaf.expand(T, *x.shape) if expanded else leaf.repeat(T, *[1] * x.dim()))
    g = torch.Generator().manual_seed(3)
    loss = (s_seq.float() * torch.randn(s_seq.shape, generator=g)).sum() + net[2].v.float().sin().sum()
    names, leaves = zip(("x", leaf), *net.named_parameters(), strict=True)
    found = dict(zip(names, torch.autograd.grad(loss, leaves), strict=True))
    return found | {"s": s_seq.detach(), "v": net[2].v.detach(), **{f"buffer {k}": b for k, b in net.named_buffers()}}


def check(net: nn.Sequential, x: Tensor, T: int, tolerance: float = 2e-5) -> None:
    """Compare the fused network on an expanded step with the modules one by one, engine torch, on copies of it."""
    fused = copy.deepcopy(net)
    functional.set_backend(fused, "cpu")
    want, got = run(net, x, T, expanded=False), run(fuse(fused), x, T, expanded=True)
    assert float((got["s"] != want["s"]).float().mean()) <= 1e-4
    numbers = T * x[:, 0].numel()
    for name, b in want.items():
        a, cancels = got[name], name.startswith(("x", "0.", "1.", "2.w"))  # sums of terms of both signs
        scale = max(float(b.abs().max()), numbers**0.5 if cancels else 1.0)
        assert float((a - b).abs().max()) <= tolerance * scale, name


@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
@pytest.mark.parametrize("pool", [True, False], ids=["pool", "no pool"])
@pytest.mark.parametrize("detach_reset", [True, False])
@pytest.mark.parametrize("kind", NODES)
def test_an_expanded_step_is_as_good_as_copies(kind: str, detach_reset: bool, pool: bool, training: bool) -> None:
    net = make(16, kind, pool=pool, detach_reset=detach_reset).train(training)
    check(net, torch.randn(3, 2, 8, 11), T=5)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(2, 9), st.integers(2, 30)),
    T=st.integers(2, 6),
    C=st.integers(1, 20),
    pool=st.booleans(),
)
def test_any_shape(shape: tuple[int, int, int], T: int, C: int, pool: bool) -> None:
    N, H, W = shape
    check(make(C, "lif", pool=pool), torch.randn(N, 2, H, W), T, 1e-4)


def test_bfloat16_sums_the_gradient_of_all_steps_before_it_is_rounded() -> None:
    x = torch.randn(4, 8, 8, 8).bfloat16()
    results = {}
    for dtype in (torch.float32, torch.bfloat16):
        net = make(8, "if")[1:]
        functional.set_backend(net, "cpu")
        fuse(net)
        leaf = x.to(dtype, copy=True).requires_grad_()
        s_seq = net((leaf * 1).expand(8, *x.shape))
        s_seq.float().cumsum(0).sin().sum().backward()
        results[dtype] = s_seq.detach().float(), leaf.grad.float()
    (want, exact), (got, rounded) = results.values()
    assert float((got != want).float().mean()) < 1e-3
    assert float((rounded - exact).norm() / exact.norm()) < 0.02


def test_layers_without_memory_compute_one_step() -> None:
    image = torch.randn(3, 4, 6, 6, requires_grad=True)
    seen = []
    modules = layer.Conv2d(4, 5, 3), layer.MaxPool2d(2), layer.Flatten(), layer.Linear(20, 7)
    for module in modules:
        module.step_mode = "m"
    one, many = image.expand(4, *image.shape), image.repeat(4, 1, 1, 1, 1)
    for module in modules:
        one, many = module(one), module(many)
        seen.append(one.stride(0))
        assert torch.allclose(one, many, atol=1e-6)
    assert seen == [0] * len(modules)
    (got,), (want,) = (torch.autograd.grad((y * torch.arange(7)).sum(), image) for y in (one, many))
    assert torch.allclose(got, want, rtol=1e-4, atol=1e-5)


def test_the_running_variance_counts_every_copy() -> None:
    for make_norm, x in ((layer.BatchNorm2d, torch.randn(2, 3, 2, 2)), (layer.BatchNorm1d, torch.randn(5, 3))):
        norms = [make_norm(3, step_mode="m") for _ in range(2)]
        norms[0](x.expand(4, *x.shape))
        norms[1](x.repeat(4, *[1] * x.dim()))
        assert torch.allclose(norms[0].running_var, norms[1].running_var, rtol=1e-6)


def test_the_step_of_all_is_what_was_expanded_where_gradients_allow() -> None:
    x = torch.randn(3, 4)
    y = torch.randn(3, 4, requires_grad=True) * 1
    assert step_of_all(y.expand(5, 3, 4)) is y
    for x_seq in (x.repeat(5, 1, 1), x.expand(1, 3, 4), x[None], torch.randn(5, 3, 4)):
        assert step_of_all(x_seq) is None
    for again in (
        x.expand(5, 3, 4),
        y.detach().expand(5, 3, 4),
        y.expand(5, 3, 4).detach(),
        y[:, :2].expand(5, 3, 2),
        y.t().expand(5, 4, 3),
    ):
        one = step_of_all(again)
        assert one is not None
        assert torch.equal(one, again[0])
        assert one.requires_grad == again.requires_grad
    leaf = y.expand(5, 3, 4).detach().requires_grad_()
    step_of_all(leaf).sum().backward()
    assert leaf.grad.sum() == 12  # not y's: it was cut off
    hooked = y.expand(5, 3, 4)
    hooked.register_hook(lambda g: g * 2)
    (g,) = torch.autograd.grad(step_of_all(hooked).sum(), y)
    assert torch.equal(g, torch.full((3, 4), 2.0))
