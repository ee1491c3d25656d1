"""The reference engine against the loops: the contract, float64 to 1e-12, and numerical differentiation."""

from __future__ import annotations

import pytest
import torch
from engine_contract import VARIANTS, EngineContract, inputs, name_of, with_surrogate
from torch.autograd import gradcheck

from train import surrogate
from train.backends import NeuronSpec, get


class TestTorchEngine(EngineContract):
    engine = get("torch")
    surrogates = tuple(surrogate.names())
    dtypes = (torch.float64, torch.float32, torch.float16, torch.bfloat16)

    def test_float64_to_the_last_digits(self, spec: NeuronSpec, name: str) -> None:
        tight = type("Tight", (TestTorchEngine,), {"tolerance": 1e-12})()
        if name != "poisson_pass":
            spec = with_surrogate(spec, surrogate.get(name))
            tight.check(spec, inputs(spec, (6, 3, 7), torch.float64))

    def test_not_spiking_returns_the_primitive(self, spec: NeuronSpec, name: str) -> None:
        spec = with_surrogate(spec, surrogate.get(name, spiking=False))
        leaves = inputs(spec, (4, 3, 5), torch.float64)
        outputs = self.multi_step(spec, *leaves)
        assert torch.equal(outputs[0][0], spec.surrogate.primitive(self.charged(spec, leaves) - spec.v_threshold))

    @staticmethod
    def charged(spec: NeuronSpec, leaves: list[torch.Tensor]) -> torch.Tensor:
        from train.backends.torch_loop import charge, decay_rate

        x, v, *w = leaves
        return charge(spec, x[0], v, decay_rate(spec, v, w[0] if w else None))


@pytest.mark.parametrize("name", ["sigmoid", "atan", "soft_sign", "erf", "q_pseudo_spike", "squarewave_fourier_series"])
@pytest.mark.parametrize("spec", [s for s in VARIANTS if not s.detach_reset], ids=name_of)
def test_the_backward_is_the_numerical_derivative_of_the_smooth_neuron(spec: NeuronSpec, name: str) -> None:
    spec = with_surrogate(spec, surrogate.get(name, spiking=False))
    leaves = inputs(spec, (3, 2, 2), torch.float64)

    def outputs(*leaves: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return get("torch").multi_step(spec, *leaves, store_v_seq=True)  # type: ignore[return-value]

    assert gradcheck(outputs, leaves)


def test_poisson_spikes_reset_what_they_fired() -> None:
    spec = NeuronSpec("if", surrogate.PoissonPass(), v_threshold=0.0, v_reset=0.0)
    torch.manual_seed(0)
    x = torch.full((50, 200), 0.3, requires_grad=True)
    s_seq, _, v_seq = get("torch").multi_step(spec, x, torch.zeros(200), store_v_seq=True)
    (grad,) = torch.autograd.grad(s_seq.sum(), x)
    x, s_seq, v_seq = x.detach(), s_seq.detach(), v_seq.detach()
    assert 0.3 < float(s_seq.mean()) < 0.8
    assert not v_seq[s_seq > 0].any()
    assert (v_seq[s_seq == 0] > 0.2).all()
    before = torch.cat([torch.zeros(1, 200), v_seq[:-1]])
    # With a straight-through surrogate and reset to 0, dv/dh = (1 - s) - h: the drawn spikes have to be the forward's.
    expected, g = torch.zeros_like(x), torch.zeros(200)
    for t in range(49, -1, -1):
        h = before[t] + x[t]
        g = expected[t] = 1 + g * ((1 - s_seq[t]) - h)
    assert torch.allclose(grad, expected, atol=1e-4)


def test_channels_last_goes_through_forwards_and_backwards() -> None:
    spec = NeuronSpec("lif", surrogate.ATan(), tau=2.0)
    x = torch.randn(6, 3, 8, 8).contiguous(memory_format=torch.channels_last).unflatten(0, (2, 3)).requires_grad_()
    s_seq, v_last, _ = get("torch").multi_step(spec, x, torch.zeros_like(x[0]).detach())
    (grad,) = torch.autograd.grad(s_seq.sum() + v_last.sum(), x)
    assert s_seq.stride() == grad.stride() == x.stride()
    assert v_last.is_contiguous(memory_format=torch.channels_last)
