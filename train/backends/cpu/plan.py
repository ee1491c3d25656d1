"""A NeuronSpec in, the numbers that the kernels take out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from train.backends.spec import NeuronSpec
from train.surrogate import SURROGATES

# The numbers of rows.hpp and surrogate.hpp. PoissonPass draws its spikes from torch's generator.
ADD, DECAY_INPUT, DECAY, DECAY_INPUT_DIVIDE, DECAY_DIVIDE = range(5)
DERIVATIVES = (
    *("sigmoid", "atan", "piecewise_quadratic", "piecewise_exp", "soft_sign", "super_spike", "erf"),
    *("nonzero_sign_log_abs", "leaky_k_relu", "piecewise_leaky_relu", "q_pseudo_spike", "s2nn", "rect"),
    *("fake_numerical_gradient", "log_tailed_relu", "squarewave_fourier_series", "deterministic_pass"),
)


@dataclass(frozen=True)
class Plan:
    """A neuron in the kernels' numbers; the fields of struct Neuron in rows.hpp."""

    charge: int
    hard: bool
    detach: bool
    surrogate: int
    decay: float
    threshold: float
    reset: float
    a: float
    b: float


def plan(spec: NeuronSpec, q: float | None = None) -> Plan:
    """Return what the kernels take; ``q`` is PLIF's 1/tau as it is now."""
    charge, decay = ADD, 1.0
    if spec.kind != "if":
        charge = DECAY_INPUT if spec.decay_input else DECAY
        if q is not None:
            decay = q
        elif spec.tau is not None:
            exact = math.frexp(spec.tau)[0] == 0.5  # a power of two: to multiply is as good and faster
            decay = 1 / spec.tau if exact else spec.tau
            charge += 0 if exact else DECAY_INPUT_DIVIDE - DECAY_INPUT
    a, b = (*spec.surrogate.params.values(), 0.0, 0.0)[:2]
    hard = spec.v_reset is not None
    surrogate = DERIVATIVES.index(spec.surrogate.name)
    return Plan(charge, hard, spec.detach_reset, surrogate, decay, spec.v_threshold, spec.v_reset or 0.0, a, b)


def refusal(spec: NeuronSpec, x: Tensor) -> str | None:
    """Return None if the kernels can run this, else why not."""
    if x.device.type != "cpu":
        return f"the input is on {x.device}, the kernels run on the CPU"
    if x.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return f"the kernels compute in float32, the input is {x.dtype}"
    if not spec.surrogate.spiking:
        return f"the kernels spike, {spec.surrogate.name} has spiking=False"
    if spec.surrogate.name not in DERIVATIVES or SURROGATES[spec.surrogate.name] is not type(spec.surrogate):
        return f"the kernels have no surrogate {spec.surrogate.name}"
    return None
