"""The slow, obvious twins of the engines: the loop over time as the formulas read, and one neuron after the other."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from train.backends import NeuronSpec


def naive_neuron(spec: NeuronSpec, x_seq: Tensor, v: Tensor, w: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Return spikes, last potential and all potentials; torch differentiates through the loop."""
    state = torch.float64 if x_seq.dtype == torch.float64 else torch.float32
    rest = 0.0 if spec.v_reset is None else spec.v_reset
    spikes, potentials = [], []
    for t in range(x_seq.shape[0]):
        x = x_seq[t].to(state)
        if spec.kind == "if":
            h = v + x
        elif spec.kind == "lif":
            h = v + (x - (v - rest)) / spec.tau if spec.decay_input else (v - (v - rest) / spec.tau) + x
        else:
            q = torch.sigmoid(w.to(state))
            h = v + (x - (v - rest)) * q if spec.decay_input else (v - (v - rest) * q) + x
        s = spec.surrogate(h - spec.v_threshold)
        s_reset = s.detach() if spec.detach_reset else s
        v = h - s_reset * spec.v_threshold if spec.v_reset is None else (1 - s_reset) * h + s_reset * spec.v_reset
        spikes.append(s.to(x_seq.dtype))
        potentials.append(v)
    return torch.stack(spikes), v, torch.stack(potentials)


def numpy_neuron(spec: NeuronSpec, x_seq: np.ndarray, v: np.ndarray, q: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return spikes and potentials in float64, one neuron after the other, with no tensor at all."""
    rest = 0.0 if spec.v_reset is None else spec.v_reset
    decay = {"if": 0.0, "lif": 1 / (spec.tau or 1), "plif": q}[spec.kind]
    gain = decay if spec.kind != "if" and spec.decay_input else 1.0
    spikes, potentials = np.zeros(x_seq.shape), np.zeros(x_seq.shape)
    for index in np.ndindex(*v.shape):
        potential = float(v[index])
        for t in range(len(x_seq)):
            potential = potential - decay * (potential - rest) + gain * float(x_seq[(t, *index)])
            if potential >= spec.v_threshold:
                spikes[(t, *index)] = 1
                potential = potential - spec.v_threshold if spec.v_reset is None else spec.v_reset
            potentials[(t, *index)] = potential
    return spikes, potentials
