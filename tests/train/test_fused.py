"""BatchNorm + neuron + MaxPool as one operation against the three modules."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dvsprep.errors import UsageError
from train import functional, layer, models, neuron, surrogate
from train.backends import cpu
from train.backends.cpu.fallback import Fallback
from train.fused import FusedSequential, fuse, fusible

NODES = {"if": neuron.IFNode, "lif": lambda **k: neuron.LIFNode(tau=1.7, **k), "plif": neuron.ParametricLIFNode}


def make(C: int, kind: str = "lif", *, pool: bool = True, seed: int = 0, **options) -> nn.Sequential:
    torch.manual_seed(seed)
    options.setdefault("surrogate_function", surrogate.ATan())
    norm = layer.BatchNorm2d(C)
    norm.weight.data.uniform_(1, 2)
    norm.bias.data.uniform_(-0.2, 1)
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    net = nn.Sequential(norm, NODES[kind](**options), *[layer.MaxPool2d(2, 2)] * pool)
    functional.set_step_mode(net, "m")
    functional.set_backend(net, "cpu")
    return net


def both(net: nn.Sequential, x: Tensor, *, state: bool = True) -> tuple[list[Tensor], list[Tensor]]:
    """Return what the modules and the one operation yield: spikes, potential, buffers, then gradients."""
    results = []
    functional.reset_net(net)
    for one in (net, fuse(copy.deepcopy(net))):
        leaf = x.clone().requires_grad_()
        if one is not net:
            assert fusible(list(one), leaf) == len(net)
        s_seq = one(leaf)
        g = torch.Generator().manual_seed(3)
        loss = (s_seq * torch.randn(s_seq.shape, generator=g).to(s_seq.dtype)).sum()
        if state:
            loss = loss + (one[1].v * torch.randn(one[1].v.shape, generator=g)).sum()
        leaves = [leaf, *one.parameters()]
        results.append(([s_seq.detach(), one[1].v.detach(), *one[0].buffers()], torch.autograd.grad(loss, leaves)))
    (got, grads), (want, expected) = results[1], results[0]
    return [*got, *grads], [*want, *expected]


def check(net: nn.Sequential, x: Tensor, tolerance: float = 1e-5) -> None:
    got, want = both(net, x)
    assert torch.equal(got[0], want[0]), f"{int((got[0] != want[0]).sum())} of {got[0].numel()} spikes differ"
    names = ["v", "mean", "variance", "tracked", "gx", "weight", "bias", "w"]
    for name, a, b in zip(names, got[1:], want[1:], strict=False):
        assert a.dtype == b.dtype
        scale = float(b.detach().abs().max()) or 1.0
        if name in ("weight", "bias", "w"):  # terms of both signs cancel: measured against how many there are
            scale = max(scale, x.numel() ** 0.5 if name == "w" else 1.0)
        assert float((a.detach() - b.detach()).abs().max()) <= tolerance * scale, name


@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
@pytest.mark.parametrize("pool", [True, False], ids=["pool", "no pool"])
@pytest.mark.parametrize("v_reset", [0.0, None, -0.25])
@pytest.mark.parametrize("detach_reset", [True, False])
@pytest.mark.parametrize("kind", NODES)
def test_every_neuron(kind: str, detach_reset: bool, v_reset: float | None, pool: bool, training: bool) -> None:
    net = make(16, kind, pool=pool, detach_reset=detach_reset, v_reset=v_reset).train(training)
    check(net, torch.randn(5, 3, 16, 6, 10) * 2)


@pytest.mark.parametrize(
    "name", [n for n in surrogate.names() if n not in ("poisson_pass", "squarewave_fourier_series")]
)
def test_every_surrogate(name: str) -> None:
    for pool in (True, False):
        check(make(4, pool=pool, surrogate_function=surrogate.get(name)), torch.randn(4, 2, 4, 6, 6) * 2)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, high) for high in (5, 3, 9, 9, 40)]),
    pool=st.booleans(),
    training=st.booleans(),
    last=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_shape(shape: tuple[int, ...], pool: bool, training: bool, last: bool, seed: int) -> None:
    T, N, C, H, W = shape
    if T * N * H * W == 1 or (pool and min(H, W) < 2):
        return
    net = make(C, pool=pool, seed=seed).train(training)
    x = torch.randn(shape) * 2
    if last:
        x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).view(shape)
    check(net, x, 3e-5)  # few values a channel: the statistics' own rounding shows


def test_a_large_mean_costs_no_digits() -> None:
    net = make(8)
    got, want = both(net, (torch.randn(8, 4, 8, 16, 16).double() + 1000).float())
    exact = net.double()
    for module in exact:
        functional.set_backend(module, "torch")
    assert float((got[0] != want[0]).float().mean()) < 1e-3


def test_state_goes_on_where_it_stopped_and_a_wrong_batch_is_told() -> None:
    x = torch.randn(6, 2, 4, 6, 6) * 2
    net, plain = fuse(make(4).eval()), make(4).eval()
    first, second = net(x[:2]), net(x[2:])
    assert torch.equal(torch.cat([first, second]), plain(x))
    with pytest.raises(UsageError, match="reset_net"):
        net(x[:, :1])
    functional.reset_net(net)
    assert torch.equal(net(x[:2]), first)
    leaf = x.requires_grad_()
    functional.reset_net(net)
    functional.reset_net(plain)
    y = net(leaf[:2]).sum() + net(leaf[2:]).sum()
    (got,), (want,) = torch.autograd.grad(y, leaf), torch.autograd.grad(plain(leaf).sum(), leaf)
    assert float((got - want).abs().max()) < 1e-5 * float(want.abs().max())


def test_bfloat16_rounds_less_than_the_modules() -> None:
    net = make(16)
    x = (torch.randn(8, 4, 16, 16, 16) * 2).bfloat16()
    exact = both(net, x.float())[1]
    got, _ = both(net, x)
    assert got[0].dtype == torch.bfloat16
    assert float((got[0].float() != exact[0]).float().mean()) < 1e-3
    assert got[5].dtype == torch.bfloat16  # the gradient of x; the parameters' stay float32
    assert float((got[5].float() - exact[5]).norm() / exact[5].norm()) < 0.05
    assert got[6].dtype == torch.float32


def test_nothing_but_the_calls_changes() -> None:
    net = make(4)
    keys, repr_before = list(net.state_dict()), [id(p) for p in net.parameters()]
    assert fuse(net) is net
    assert type(net) is FusedSequential
    assert list(net.state_dict()) == keys
    assert [id(p) for p in net.parameters()] == repr_before
    assert type(pickle.loads(pickle.dumps(net))) is FusedSequential
    other = make(4, seed=5)
    net.load_state_dict(other.state_dict())
    x = torch.randn(3, 2, 4, 8, 8)
    assert torch.equal(net(x), other(x))


def test_what_cannot_be_one_operation_runs_as_it_was() -> None:
    x = torch.randn(3, 2, 4, 6, 6)
    fit = list(make(4))
    assert fusible(fit, x) == 3
    assert fusible(fit[:2], x) == 2
    assert fusible(fit[1:], x) == 0
    assert fusible(fit, x.double()) == 0
    assert fusible(fit, x[0]) == 0

    def without(change) -> int:
        modules = list(make(4))
        change(*modules)
        return fusible(modules, x)

    assert without(lambda norm, node, pool: functional.set_backend(node, "torch")) == 0
    assert without(lambda norm, node, pool: setattr(node, "store_v_seq", True)) == 0
    assert without(lambda norm, node, pool: setattr(pool, "ceil_mode", True)) == 2
    assert without(lambda norm, node, pool: setattr(pool, "kernel_size", 3)) == 2
    assert without(lambda norm, node, pool: pool.register_forward_hook(lambda *a: None)) == 2
    assert without(lambda norm, node, pool: node.register_forward_hook(lambda *a: None)) == 0
    assert without(lambda norm, node, pool: norm.register_forward_pre_hook(lambda *a: None)) == 0
    assert without(lambda norm, node, pool: setattr(node, "step_mode", "s")) == 0
    net = fuse(make(4))
    seen = []
    net[1].register_forward_hook(lambda module, args, output: seen.append(output.shape))
    net(x)
    assert seen == [x.shape]


def test_without_a_compiler_the_modules_run(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(3, 2, 4, 6, 6)
    want = fuse(make(4))(x)
    monkeypatch.setattr(cpu, "kernels", lambda: Fallback("a test says so"))
    monkeypatch.setattr("train.backends.cpu.block.kernels", cpu.kernels)
    net = fuse(make(4))
    assert fusible(list(net), x) == 0
    assert torch.equal(net(x), want)


def test_one_value_a_channel_is_refused_by_torch_itself() -> None:
    with pytest.raises(ValueError, match="more than 1 value"):
        fuse(make(4))(torch.randn(1, 1, 4, 1, 1))


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "not fused"])
@pytest.mark.parametrize("kind", NODES)
def test_the_gradients_of_a_whole_network(kind: str, fused: bool) -> None:
    torch.manual_seed(0)
    options = {"surrogate_function": surrogate.ATan(), "detach_reset": True}
    net = models.DVSGestureNet(8, lambda: NODES[kind](**options), sensor=(64, 64))
    for module in net.modules():  # so that spikes reach the end
        if isinstance(module, nn.Linear):
            module.weight.data.mul_(4)
    x = torch.randint(0, 3, (6, 2, 2, 64, 64)).float()
    results = []
    for backend in ("torch", "cpu"):
        one = copy.deepcopy(net)
        functional.set_backend(one, backend)
        if backend == "cpu" and fused:
            fuse(one)
        torch.manual_seed(1)  # of the dropout
        y = one(x)
        (y.mean(0) - torch.eye(11)[:2]).square().sum().backward()
        results.append((y.detach(), [p.grad for p in one.parameters()]))
    (want, expected), (got, grads) = results
    assert torch.equal(got, want)
    assert want.any()
    largest = max(float(g.abs().max()) for g in expected)
    for a, b in zip(grads, expected, strict=True):
        assert float((a - b).abs().max()) <= 1e-5 * max(float(b.abs().max()), 1e-2 * largest)
