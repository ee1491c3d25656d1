"""Neurons as modules: state, step modes, backends, decoders, what they print and what they refuse."""

from __future__ import annotations

import copy
import io
import math
import pickle

import pytest
import torch
from torch import nn

from dvsprep.errors import BackendError, UsageError
from train import functional, neuron, surrogate

NODES = [
    lambda **k: neuron.IFNode(**k),
    lambda **k: neuron.LIFNode(tau=1.7, **k),
    lambda **k: neuron.LIFNode(decay_input=False, v_reset=None, **k),
    lambda **k: neuron.ParametricLIFNode(init_tau=3.0, surrogate_function=surrogate.ATan(), detach_reset=True, **k),
    lambda **k: neuron.ParametricLIFNode(decay_input=False, v_reset=-0.2, surrogate_function=surrogate.Rect(), **k),
]

MORE = [
    lambda **k: neuron.KLIFNode(**k),
    lambda **k: neuron.KLIFNode(scale_reset=True, decay_input=False, v_reset=None, **k),
    lambda **k: neuron.QIFNode(**k),
    lambda **k: neuron.EIFNode(detach_reset=True, **k),
    lambda **k: neuron.IzhikevichNode(a=0.3, b=0.2, tau_w=3.0, **k),
    lambda **k: neuron.CUBALIFNode(v_reset=None, **k),
]
NODES += MORE


def decoder(decode: str):
    return lambda **k: neuron.NonSpikingLIFNode(decode=decode, **k)


DECODERS = [lambda **k: neuron.NonSpikingIFNode(**k), *map(decoder, neuron.DECODES)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("make", NODES)
def test_single_and_multi_step_give_equal_numbers(make, dtype: torch.dtype) -> None:
    x = (torch.randn(7, 3, 5) + 0.5).to(dtype).requires_grad_()
    single, multi = make(step_mode="s"), make(step_mode="m", store_v_seq=True)
    s_single, v_single = [], []
    for step in x:
        s_single.append(single(step))
        v_single.append(single.v)
    s_multi = multi(x)
    assert s_multi.dtype == dtype
    assert s_multi.any()
    assert torch.equal(torch.stack(s_single), s_multi)
    assert torch.equal(torch.stack(v_single), multi.v_seq)
    assert torch.equal(single.v, multi.v)
    weight = torch.randn_like(x).detach()
    parameters = [x, *single.parameters()], [x, *multi.parameters()]
    a = torch.autograd.grad((torch.stack(s_single) * weight).sum(), parameters[0])
    b = torch.autograd.grad((s_multi * weight).sum(), parameters[1])
    tolerance = {torch.float16: 1e-2, torch.bfloat16: 5e-2}.get(dtype, 1e-5)
    for one, other in zip(a, b, strict=True):
        assert torch.allclose(one.double(), other.double(), atol=tolerance * float(other.abs().max()))


@pytest.mark.parametrize("make", [*NODES, *DECODERS])
def test_state_is_carried_until_reset_and_never_in_the_state_dict(make) -> None:
    node = make(step_mode="m")
    x = torch.randn(6, 2, 4)
    names = set(node.state_dict())
    whole = node(x)
    assert set(node.state_dict()) == names <= {"w", "k"}
    assert isinstance(node.v, torch.Tensor)
    node.reset()
    assert isinstance(node.v, float)
    node(x[:2])
    halves = node(x[2:])
    assert torch.equal(halves, whole[2:] if whole.dim() == 3 else whole)
    functional.reset_net(nn.Sequential(node))
    assert torch.equal(node(x), whole)


@pytest.mark.parametrize("make", [*NODES, *DECODERS])
def test_state_survives_copy_pickle_save_and_conversion(make) -> None:
    node = make(step_mode="m")
    x = torch.randn(4, 2, 3, requires_grad=True)
    node(x)
    stream = io.BytesIO()
    torch.save(node, stream)
    stream.seek(0)
    others = [copy.deepcopy(node), pickle.loads(pickle.dumps(node)), torch.load(stream, weights_only=False)]
    assert node.v.requires_grad  # the original keeps its graph
    expected = node(x)
    for other in others:
        assert not other.v.requires_grad
        assert torch.equal(other(x), expected)
    double = node.to(torch.float64)
    assert double.v.dtype == torch.float64
    assert node.to("meta").v.device.type == "meta"


@pytest.mark.parametrize("make", [*NODES, *DECODERS])
@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_another_batch_raises_one_error_that_names_reset_net(make, step_mode: str) -> None:
    node = make(step_mode=step_mode)
    time = (3,) if step_mode == "m" else ()
    node(torch.randn(*time, 4, 5))
    with pytest.raises(UsageError, match=r"state v is \[4, 5\].*needs \[2, 5\].*functional.reset_net") as error:
        node(torch.randn(*time, 2, 5))
    assert "\n" not in str(error.value)
    node.reset()
    assert node(torch.randn(*time, 2, 5)).shape[-2:] == (2, 5)


def test_detach_cuts_the_graph() -> None:
    node = neuron.LIFNode(step_mode="m", store_v_seq=True)
    x = torch.randn(3, 2, 4, requires_grad=True)
    node(x)
    functional.detach_net(node)
    assert not node.v.requires_grad
    assert not node.v_seq.requires_grad
    (grad,) = torch.autograd.grad(node(x.detach() + x * 0).sum(), x)
    assert not grad.any()


def test_a_float_state_starts_at_the_reset_potential() -> None:
    assert neuron.IFNode(v_reset=-0.5).v == -0.5
    assert neuron.IFNode(v_reset=None).v == 0.0
    node = neuron.LIFNode(v_reset=-0.5, tau=2.0)
    node(torch.ones(2))
    assert node.v.tolist() == [0.0, 0.0]  # -0.5 + (1 - 0) / 2


def test_if_neuron_on_a_constant_current() -> None:
    spikes = neuron.IFNode(step_mode="m")(torch.full((7, 1), 0.5))
    assert spikes.flatten().tolist() == [0, 1, 0, 1, 0, 1, 0]


def test_tau_is_learned() -> None:
    node = neuron.ParametricLIFNode(init_tau=2.5, step_mode="m")
    assert math.isclose(node.tau, 2.5, rel_tol=1e-6)
    assert [n for n, _ in node.named_parameters()] == ["w"]
    node(torch.randn(5, 3, 4)).sum().backward()
    assert node.w.grad is not None
    torch.optim.SGD(node.parameters(), 10.0).step()
    assert node.tau != 2.5


def test_half_inputs_keep_a_float32_state() -> None:
    node = neuron.LIFNode(step_mode="m").half()
    assert node(torch.randn(3, 2, 4, dtype=torch.float16)).dtype == torch.float16
    assert node.v.dtype == torch.float32
    node(torch.randn(3, 2, 4))
    assert node.v.dtype == torch.float32


def test_potentials_of_all_steps_only_if_asked_for() -> None:
    node = neuron.IFNode(step_mode="m")
    node(torch.randn(4, 2))
    assert node.v_seq is None
    node.store_v_seq = True
    node(torch.randn(4, 2))
    assert node.v_seq.shape == (4, 2)
    assert torch.equal(node.v_seq[-1], node.v)


def test_channels_last_stays_channels_last() -> None:
    x = torch.randn(4, 3, 5, 6, 7).flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (2, 6))
    node = neuron.IFNode(step_mode="m")
    node(x)
    assert node.v.is_contiguous(memory_format=torch.channels_last)


def test_repr_shows_what_matters() -> None:
    for node in (neuron.LIFNode(tau=4.0, step_mode="m", backend="auto"), neuron.ParametricLIFNode(init_tau=4.0)):
        text = repr(node)
        assert "tau=4," in text
        assert f"backend={node.backend}" in text
        assert f"step_mode={node.step_mode}" in text
        assert "Sigmoid" in text
    assert "decode=max-mem" in repr(neuron.NonSpikingIFNode("max-mem"))


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_decoders_read_the_potential(step_mode: str) -> None:
    x = torch.randn(6, 2, 3)
    potentials, v = [], torch.zeros(2, 3)
    for step in x:
        v = v + (step - v) / 3.0
        potentials.append(v)
    seq = torch.stack(potentials)
    far = seq.gather(0, seq.abs().argmax(0, keepdim=True))[0]
    expected = {"last-mem": seq[-1], "max-mem": seq.amax(0), "max-abs-mem": far, "mean-mem": seq.mean(0), None: seq}
    for decode, want in expected.items():
        node = neuron.NonSpikingLIFNode(3.0, decode, step_mode=step_mode)
        got = node(x) if step_mode == "m" else [node(step) for step in x]
        if step_mode == "s":
            got = torch.stack(got) if decode is None else got[-1]
        assert torch.allclose(got, want, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: neuron.LIFNode(tau=1.0), "tau has to be greater than 1"),
        (lambda: neuron.LIFNode(tau=float("nan")), "tau has to be greater than 1"),
        (lambda: neuron.ParametricLIFNode(init_tau=0.5), "init_tau has to be greater than 1"),
        (lambda: neuron.IFNode(v_threshold=float("inf")), "v_threshold has to be a finite number"),
        (lambda: neuron.IFNode(surrogate_function=torch.sigmoid), "expected a surrogate such as surrogate.ATan()"),
        (lambda: neuron.IFNode(surrogate_function=surrogate.ATan), "expected a surrogate such as surrogate.ATan()"),
        (lambda: neuron.IFNode(step_mode="x"), "'s' or 'm', got 'x'"),
        (lambda: neuron.IFNode(backend="cuda"), "there are auto, torch, cpu, cupy"),
        (lambda: neuron.QIFNode(a0=0.0), "a0 has to be greater than 0"),
        (lambda: neuron.EIFNode(delta_T=-1.0), "delta_T has to be greater than 0"),
        (lambda: neuron.IzhikevichNode(tau_w=0.0), "tau_w has to be greater than 0"),
        (lambda: neuron.CUBALIFNode(c_decay=1.5), "c_decay has to be in [0, 1]"),
        (lambda: neuron.KLIFNode(tau=1.0), "KLIFNode: tau has to be greater than 1"),
        (lambda: neuron.PSN(0), "T has to be at least 1"),
        (lambda: neuron.PSN(4)(torch.ones(3, 2, 5)), "was made for T=4 steps, got [3, 2, 5]"),
        (lambda: functional.set_step_mode(psn := neuron.PSN(4), "s") or psn(torch.ones(2, 5)), "all steps at once"),
        (lambda: neuron.NonSpikingIFNode("median-mem"), "one of last-mem"),
        (lambda: neuron.NonSpikingLIFNode(0.0), "tau has to be greater than 1"),
        (lambda: neuron.IFNode(step_mode="m")(torch.ones(3)), "takes [T, N, *] with at least one step, got [3]"),
        (lambda: neuron.IFNode(step_mode="m")(torch.ones(0, 3)), "at least one step, got [0, 3]"),
        (lambda: neuron.IFNode()(torch.ones(3, dtype=torch.uint8)), "floating point input, got torch.uint8"),
    ],
)
def test_wrong_arguments_get_one_clear_line(make, says: str) -> None:
    with pytest.raises(UsageError) as error:
        make()
    assert says in str(error.value)


def test_a_backend_asked_for_by_name_is_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    from train.backends import torch_loop

    node = neuron.IFNode(step_mode="m", backend="torch")
    monkeypatch.setattr(torch_loop.TorchLoop, "refuses", lambda self, spec, x: "it is Sunday")
    with pytest.raises(BackendError, match="backend torch refuses: it is Sunday"):
        node(torch.ones(2, 3))


class TestMoreNeurons:
    """The other neurons of the literature, each against its equation in plain Python."""

    @staticmethod
    def spikes(node: nn.Module, current: list[float]) -> tuple[list[float], list[float]]:
        node.double().step_mode, node.store_v_seq = "m", True
        s_seq = node(torch.tensor(current, dtype=torch.float64)[:, None])
        return s_seq.flatten().tolist(), node.v_seq.flatten().tolist()

    def test_each_follows_its_equation(self) -> None:
        current = torch.randn(40, generator=torch.Generator().manual_seed(1)).add(0.8).tolist()

        def loop(step, v: float, v_threshold: float, v_reset: float) -> tuple[list[float], list[float]]:
            spikes, potentials = [], []
            for x in current:
                h = step(v, x)
                spikes.append(float(h >= v_threshold))
                v = v_reset if h >= v_threshold else h
                potentials.append(v)
            return spikes, potentials

        c = [0.0]

        def cuba(v: float, x: float) -> float:
            c[0] = 0.5 * c[0] + x
            return 0.75 * v + c[0]

        cases = [
            (neuron.KLIFNode(), lambda v, x: max(0.0, v + (x - v) / 2), 0.0, 1.0, 0.0),
            (neuron.QIFNode(), lambda v, x: v + (x + v * (v - 0.8)) / 2, -0.1, 1.0, -0.1),
            (neuron.EIFNode(), lambda v, x: v + (x - v + math.exp(v - 0.8)) / 2, -0.1, 1.0, -0.1),
            (neuron.IzhikevichNode(), lambda v, x: v + (x + (v + 0.1) * (v - 0.8)) / 2, 0.0, 1.0, 0.0),
            (neuron.CUBALIFNode(), cuba, 0.0, 0.5, 0.0),
        ]
        for node, step, v, v_threshold, v_reset in cases:
            spikes, potentials = self.spikes(node, current)
            expected, expected_potentials = loop(step, v, v_threshold, v_reset)
            assert 0 < sum(spikes) < 40
            assert spikes == expected, node
            assert potentials == pytest.approx(expected_potentials)

    def test_recovery_grows_with_spikes_and_holds_the_neuron_back(self) -> None:
        calm, tired = neuron.IzhikevichNode(), neuron.IzhikevichNode(b=0.5, tau_w=20.0)
        current = [1.5] * 30
        assert sum(self.spikes(tired, current)[0]) < sum(self.spikes(calm, current)[0])
        assert tired.w.item() > 0

    def test_the_smooth_neuron_has_its_numerical_derivative(self) -> None:
        x = (torch.randn(4, 2, 3, dtype=torch.float64) + 0.6).requires_grad_()
        for make in MORE:
            node = make(step_mode="m").double()
            node.surrogate_function = surrogate.Sigmoid(spiking=False)
            if node.detach_reset:
                node.detach_reset = False

            def run(x: torch.Tensor, *_: torch.Tensor, node: nn.Module = node) -> torch.Tensor:
                node.reset()
                return node(x)

            assert torch.autograd.gradcheck(run, (x, *node.parameters()))

    def test_parallel_neuron_mixes_all_steps(self) -> None:
        node = neuron.PSN(5)
        x = torch.randn(5, 2, 3, requires_grad=True)
        h = torch.einsum("ts,snk->tnk", node.weight, x) + node.bias[:, :, None]
        y = node(x)
        assert torch.equal(y, (h >= 0).float())
        (got,) = torch.autograd.grad(y.sum(), x)
        (want,) = torch.autograd.grad(surrogate.ATan()(h).sum(), x)
        assert torch.allclose(got, want, atol=1e-6)
        assert "T=5" in repr(node)

    def test_set_backend_leaves_them_alone(self) -> None:
        net = nn.Sequential(neuron.KLIFNode(), neuron.IFNode())
        functional.set_backend(net, "auto")
        assert net[1].backend == "auto"
        assert not hasattr(net[0], "backend")
