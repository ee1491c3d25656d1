"""What a neuron asks of an engine: the neuron as a value, and the one method that runs it over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from train.surrogate import Surrogate


@dataclass(frozen=True)
class NeuronSpec:
    """A neuron as a value: hashable, so that engines can keep what they compiled for it.

    Parameters
    ----------
    kind : "if", "lif" or "plif"
    v_reset : float or None
        None is a soft reset, which subtracts ``v_threshold``.
    tau : float or None
        The membrane time constant in steps; of "lif" only.
    decay_input : bool
        Whether the input decays with the membrane; of "lif" and "plif".
    detach_reset : bool
        Whether the reset is left out of the gradient.
    """

    kind: Literal["if", "lif", "plif"]
    surrogate: Surrogate
    v_threshold: float = 1.0
    v_reset: float | None = 0.0
    tau: float | None = None
    decay_input: bool = True
    detach_reset: bool = False


class Engine(Protocol):
    """Runs a neuron over all time steps, forwards and backwards."""

    name: str

    def why_not(self) -> Exception | None:
        """Return None if the engine can run on this machine, else the real cause."""

    def refuses(self, spec: NeuronSpec, x: Tensor) -> str | None:
        """Return None if the engine can run this, else why not; of ``x`` it looks at device and dtype only."""

    def multi_step(
        self, spec: NeuronSpec, x_seq: Tensor, v: Tensor, w: Tensor | None = None, *, store_v_seq: bool = False
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Run the neuron; differentiable in ``x_seq``, ``v`` and ``w``, and every output may receive gradients.

        Parameters
        ----------
        x_seq : floating[T, N, *], any strides
        v : floating[N, *], of dtype ``state_dtype(x_seq.dtype)``
            The membrane potential before the first step.
        w : floating[], of "plif" only
            1/tau = sigmoid(w); see :func:`inverse_tau`.

        Returns
        -------
        s_seq : [T, N, *] in the dtype of ``x_seq``
        v_last : [N, *] in the dtype of ``v``
        v_seq : [T, N, *] in the dtype of ``v``, after the reset; None if not asked for
        """


def state_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype that the membrane potential has for inputs of ``dtype``: never a half."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def inverse_tau(w: Tensor, dtype: torch.dtype) -> Tensor:
    """Return PLIF's 1/tau = sigmoid(w) as every engine computes it, so that they agree to the bit."""
    return torch.sigmoid(w.to(dtype))
