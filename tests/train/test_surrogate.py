"""Each surrogate against the table, numerical differentiation and autograd."""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch.autograd import gradcheck

from dvsprep.errors import UsageError
from train import neuron, surrogate

PARAMS = {
    "leaky_k_relu": [{}, {"leak": 0.2, "k": 3.0}],
    "piecewise_leaky_relu": [{}, {"w": 0.4, "c": 0.2}],
    "s2nn": [{}, {"alpha": 2.0, "beta": 0.5}],
    "squarewave_fourier_series": [{}, {"n": 5, "T_period": 3.0}],
    "log_tailed_relu": [{}, {"alpha": 0.1}],
    "deterministic_pass": [{}],
    "poisson_pass": [{}],
}
CASES = [(n, p) for n in surrogate.names() for p in PARAMS.get(n, [{}, {"alpha": 1.7}])]
KINKS = {  # where the primitive has no derivative, or the derivative jumps
    "piecewise_quadratic": lambda s: [-1 / s.alpha, 0, 1 / s.alpha],
    "leaky_k_relu": lambda s: [0],
    "piecewise_leaky_relu": lambda s: [-s.w, s.w],
    "s2nn": lambda s: [0],
    "rect": lambda s: [-0.5 / s.alpha, 0.5 / s.alpha],
    "fake_numerical_gradient": lambda s: [-1 / s.alpha, 1 / s.alpha],
    "log_tailed_relu": lambda s: [0, 1],
}
U = torch.cat([torch.linspace(-4, 4, 801, dtype=torch.float64), torch.randn(99, dtype=torch.float64)])
# The table, in plain Python, default parameters.
TABLE = {
    "sigmoid": lambda u: 4 / (1 + math.exp(-4 * u)) * (1 - 1 / (1 + math.exp(-4 * u))),
    "atan": lambda u: 1 / (1 + (math.pi * u) ** 2),
    "piecewise_quadratic": lambda u: max(0, 1 - abs(u)),
    "piecewise_exp": lambda u: 0.5 * math.exp(-abs(u)),
    "soft_sign": lambda u: 2 / (2 * (1 + 2 * abs(u)) ** 2),
    "super_spike": lambda u: 1 / (1 + abs(u)) ** 2,
    "erf": lambda u: 2 / math.sqrt(math.pi) * math.exp(-4 * u * u),
    "nonzero_sign_log_abs": lambda u: 1 / (1 + abs(u)),
    "leaky_k_relu": lambda u: 1 if u >= 0 else 0,
    "piecewise_leaky_relu": lambda u: 0.5 if abs(u) < 1 else 0.01,
    "q_pseudo_spike": lambda u: (1 + 2 * abs(u)) ** -2,
    "s2nn": lambda u: 4 / (1 + math.exp(-4 * u)) * (1 - 1 / (1 + math.exp(-4 * u))) if u < 0 else 1 / (u + 1),
    "rect": lambda u: 1 if abs(u) < 0.5 else 0,
    "fake_numerical_gradient": lambda u: 0.3 if u == 0 else min(1 / abs(u), 0.3),
    "log_tailed_relu": lambda u: 0 if u <= 0 else 1 if u <= 1 else 1 / u,
    "squarewave_fourier_series": lambda u: 0.5 * math.cos(2 * math.pi * u / 8),
    "deterministic_pass": lambda u: 1,
    "poisson_pass": lambda u: 1,
}


def smooth_points(s: surrogate.Surrogate) -> torch.Tensor:
    near = [(U - k).abs() < 1e-3 for k in KINKS.get(s.name, lambda s: [])(s)]
    return U[~torch.stack(near).any(0)] if near else U


@pytest.mark.parametrize("name", surrogate.names())
def test_derivative_is_the_one_of_the_table(name: str) -> None:
    u = torch.tensor([-2.5, -1, -0.5, -0.1, 0.0, 0.1, 0.5, 1, 2.5], dtype=torch.float64)
    expected = torch.tensor([float(TABLE[name](float(x))) for x in u], dtype=torch.float64)
    assert torch.allclose(surrogate.get(name).derivative(u), expected, rtol=1e-12)


@pytest.mark.parametrize(("name", "params"), CASES)
def test_derivative_is_the_one_of_the_primitive(name: str, params: dict) -> None:
    s = surrogate.get(name, **params)
    u, e = smooth_points(s), 1e-6
    numerical = (s.primitive(u + e) - s.primitive(u - e)) / (2 * e)
    assert torch.allclose(s.derivative(u), numerical, rtol=1e-5, atol=1e-8)
    leaf = u.clone().requires_grad_()
    (autograd,) = torch.autograd.grad(s.primitive(leaf).sum(), leaf)
    assert torch.allclose(s.derivative(u), autograd, rtol=1e-10, atol=1e-12)
    assert gradcheck(surrogate.get(name, spiking=False, **params), smooth_points(s)[::40].clone().requires_grad_())


@pytest.mark.parametrize(("name", "params"), CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_fires_at_the_threshold_and_sends_the_derivative_back(name: str, params: dict, dtype: torch.dtype) -> None:
    s = surrogate.get(name, **params)
    u = torch.tensor([-3.0, -0.25, -0.0, 0.0, 0.25, 1.0, 3.0], dtype=dtype, requires_grad=True)
    spikes = s(u)
    if name != "poisson_pass":
        assert spikes.tolist() == [0, 0, 1, 1, 1, 1, 1]
    assert spikes.dtype == dtype
    weights = torch.arange(1, 8, dtype=dtype)
    (grad,) = torch.autograd.grad((spikes * weights).sum(), u)
    assert torch.equal(grad, weights * s.derivative(u.detach()))
    assert grad.isfinite().all()


@pytest.mark.parametrize("name", surrogate.names())
def test_extreme_inputs_give_finite_derivatives(name: str) -> None:
    u = torch.tensor([-1e30, -1e4, -1e-38, 1e-38, 1e4, 1e30])
    assert surrogate.get(name).derivative(u).isfinite().all()


def test_poisson_draws_with_probability_u() -> None:
    torch.manual_seed(0)
    spikes = surrogate.PoissonPass()(torch.tensor([-1.0, 0.0, 0.3, 1.0, 2.0]).repeat(20000, 1))
    assert spikes[:, [0, 1]].sum() == 0
    assert spikes[:, [3, 4]].min() == 1
    assert abs(float(spikes[:, 2].mean()) - 0.3) < 0.02


def test_a_surrogate_is_a_value() -> None:
    assert surrogate.ATan() == surrogate.ATan(2.0) == surrogate.get("ATan", alpha=2)
    assert hash(surrogate.ATan()) == hash(surrogate.ATan(alpha=2))
    assert surrogate.ATan(3.0) != surrogate.ATan()
    assert surrogate.ATan(spiking=False) != surrogate.ATan()
    assert pickle.loads(pickle.dumps(surrogate.S2NN(beta=2.0))) == surrogate.S2NN(4.0, 2.0)
    assert surrogate.S2NN(beta=2).params == {"alpha": 4.0, "beta": 2.0}
    assert "alpha=2.0" in repr(surrogate.ATan())


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: surrogate.get("atn"), "did you mean atan"),
        (lambda: surrogate.get("zzz"), "there are atan"),
        (lambda: surrogate.get("atan", beta=1), "no parameter beta (it has"),
        (lambda: surrogate.ATan(0.0), "alpha has to be greater than 0, got 0.0"),
        (lambda: surrogate.Sigmoid(float("nan")), "alpha has to be greater than 0, got nan"),
        (lambda: surrogate.LeakyKReLU(k=float("inf")), "k has to be finite"),
        (lambda: surrogate.QPseudoSpike(1.0), "greater than 1"),
        (lambda: surrogate.SquarewaveFourierSeries(1), "at least 2"),
    ],
)
def test_wrong_arguments_get_one_clear_line(make, says: str) -> None:
    with pytest.raises(UsageError) as error:
        make()
    assert says in str(error.value)


def test_a_surrogate_of_ones_own_needs_a_name_of_its_own() -> None:
    with pytest.raises(UsageError, match="Steeper has no name of its own, got 'atan'"):

        class Steeper(surrogate.ATan):
            pass

    with pytest.raises(UsageError, match="got 'atan'"):

        class Other(surrogate.Surrogate):
            name = "atan"

    @dataclass(frozen=True)
    class Mine(surrogate.Surrogate):
        name: ClassVar[str] = "mine"
        width: float = 2.0

        def derivative(self, u: torch.Tensor) -> torch.Tensor:
            return torch.where(u.abs() < self.width, torch.full_like(u, 0.5), 0)

    try:
        assert surrogate.get("mine", width=1.0) == Mine(1.0)
        node = neuron.IFNode(surrogate_function=Mine(), step_mode="m", backend="auto")
        x = torch.full((1, 4), 0.5, requires_grad=True)
        (grad,) = torch.autograd.grad(node(x).sum(), x)
        assert grad.tolist() == [[0.5] * 4]
    finally:
        del surrogate.SURROGATES["mine"]
