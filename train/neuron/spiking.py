"""The neurons that every engine runs: IF, LIF and PLIF."""

from __future__ import annotations

import math
from typing import TypedDict, Unpack

import torch
from torch import Tensor, nn

from dvsprep.errors import BackendError, UsageError
from train import backends, surrogate
from train.backends import NeuronSpec
from train.base import MemoryModule, steps


class FiringOptions(TypedDict, total=False):
    """The parameters of :class:`FiringNode`, by keyword."""

    v_threshold: float
    v_reset: float | None
    surrogate_function: surrogate.Surrogate | None
    detach_reset: bool
    step_mode: str
    store_v_seq: bool


class NodeOptions(FiringOptions, total=False):
    """The parameters of :class:`BaseNode`, by keyword."""

    backend: str


class FiringNode(MemoryModule):
    """What all neurons that fire share.

    Parameters
    ----------
    v_threshold : float
        The neuron fires where the potential reaches it.
    v_reset : float or None
        The potential after a spike, and at the start; None subtracts ``v_threshold`` instead (soft reset).
    surrogate_function : Surrogate
        Sigmoid if it is not given.
    detach_reset : bool
        Leave the reset out of the gradient.
    step_mode : "s" or "m"
    store_v_seq : bool
        Keep the potentials of all steps in ``v_seq`` (multi-step).
    """

    v: float | Tensor
    v_seq: Tensor | None

    def __init__(
        self,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: surrogate.Surrogate | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        store_v_seq: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (("v_threshold", v_threshold), ("v_reset", v_reset)):
            if value is not None and not math.isfinite(value):
                raise UsageError(f"{type(self).__name__}: {name} has to be a finite number, got {value}")
        surrogate_function = surrogate.Sigmoid() if surrogate_function is None else surrogate_function
        if not isinstance(surrogate_function, surrogate.Surrogate):
            raise UsageError(
                f"{type(self).__name__}: surrogate_function is a {type(surrogate_function).__name__}, "
                "expected a surrogate such as surrogate.ATan()"
            )
        self.v_threshold = float(v_threshold)
        self.v_reset = None if v_reset is None else float(v_reset)
        self.surrogate_function = surrogate_function
        self.detach_reset = bool(detach_reset)
        self.step_mode = step_mode
        self.store_v_seq = store_v_seq
        self.register_memory("v", 0.0 if self.v_reset is None else self.v_reset)
        self.register_memory("v_seq", None)

    def check_tau(self, name: str, tau: float) -> float:
        """Return a time constant; raise UsageError if it is not greater than a step."""
        if not (math.isfinite(tau) and tau > 1):
            raise UsageError(f"{type(self).__name__}: {name} has to be greater than 1 step, got {tau}")
        return float(tau)

    def potential(self, x: Tensor) -> Tensor:
        """Return v for one step ``x``, in the dtype that potentials have."""
        if not x.is_floating_point():
            raise UsageError(f"{type(self).__name__}: takes a floating point input, got {x.dtype}")
        dtype = backends.state_dtype(x.dtype)
        self.check_memory("v", x.shape, x)
        if isinstance(self.v, Tensor):
            return self.v.to(dtype)
        return torch.full((), self.v, dtype=dtype, device=x.device).expand(x.shape)  # one number, whatever the shape

    def extra_repr(self) -> str:
        return (
            f"v_threshold={self.v_threshold}, v_reset={self.v_reset}, surrogate_function={self.surrogate_function}, "
            f"detach_reset={self.detach_reset}, step_mode={self.step_mode}"
        )


class BaseNode(FiringNode):
    """What the neurons that every engine runs share.

    The parameters of :class:`FiringNode`, and one more:

    Parameters
    ----------
    backend : str
        The engine of multi-step mode: "torch", "cpu", "cupy", or "auto" for the fastest; single steps run on torch.
    """

    def __init__(self, *, backend: str = "torch", **options: Unpack[FiringOptions]) -> None:
        super().__init__(**options)
        self.backend = backend

    @property
    def backend(self) -> str:
        """The engine of multi-step mode, by name."""
        return self._backend

    @backend.setter
    def backend(self, backend: str) -> None:
        self._backend = backends.check_name(backend)

    @property
    def spec(self) -> NeuronSpec:
        """The neuron as the engines see it."""
        raise NotImplementedError

    def inverse_tau_parameter(self) -> Tensor | None:
        """Return PLIF's parameter w, None for others."""
        return None

    def engine(self, x: Tensor) -> backends.Engine:
        """Return the engine that runs this input; a backend asked for by name is never replaced."""
        if self.backend == "auto":
            return backends.choose(x, self.spec)[0]
        engine = backends.get(self.backend)
        if (refused := engine.refuses(self.spec, x)) is not None:
            raise BackendError(
                f"{type(self).__name__}: backend {self.backend} refuses: {refused}", hint="use backend auto or torch"
            )
        return engine

    def single_step_forward(self, x: Tensor) -> Tensor:
        """Run one step; x is [N, *]."""
        return self._run(backends.get("torch"), x.unsqueeze(0), store_v_seq=False).squeeze(0)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        """Run all steps; x_seq is [T, N, *]."""
        steps(x_seq, type(self).__name__)
        return self._run(self.engine(x_seq), x_seq, self.store_v_seq)

    def _run(self, engine: backends.Engine, x_seq: Tensor, store_v_seq: bool) -> Tensor:
        v, w = self.potential(x_seq[0]), self.inverse_tau_parameter()
        s_seq, self.v, self.v_seq = engine.multi_step(self.spec, x_seq, v, w, store_v_seq=store_v_seq)
        return s_seq

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, backend={self.backend}"


class IFNode(BaseNode):
    """Integrate and fire: h = v + x."""

    @property
    def spec(self) -> NeuronSpec:
        """The neuron as the engines see it."""
        return NeuronSpec("if", self.surrogate_function, self.v_threshold, self.v_reset, detach_reset=self.detach_reset)


class LIFNode(BaseNode):
    """Leaky integrate and fire: h = v + (x - (v - v_reset)) / tau.

    Without ``decay_input`` h = v - (v - v_reset) / tau + x. The other parameters are those of :class:`BaseNode`.
    """

    def __init__(self, tau: float = 2.0, decay_input: bool = True, **options: Unpack[NodeOptions]) -> None:
        super().__init__(**options)
        self.tau = self.check_tau("tau", tau)
        self.decay_input = bool(decay_input)

    @property
    def spec(self) -> NeuronSpec:
        """The neuron as the engines see it."""
        return NeuronSpec(
            "lif",
            self.surrogate_function,
            self.v_threshold,
            self.v_reset,
            self.tau,
            self.decay_input,
            self.detach_reset,
        )

    def extra_repr(self) -> str:
        return f"tau={self.tau:g}, decay_input={self.decay_input}, {super().extra_repr()}"


class ParametricLIFNode(BaseNode):
    """A LIF whose time constant is learned: 1/tau = sigmoid(w), one w a layer (Fang et al. 2021)."""

    def __init__(self, init_tau: float = 2.0, decay_input: bool = True, **options: Unpack[NodeOptions]) -> None:
        super().__init__(**options)
        self.decay_input = bool(decay_input)
        self.w = nn.Parameter(torch.tensor(-math.log(self.check_tau("init_tau", init_tau) - 1.0)))

    @property
    def tau(self) -> float:
        """The time constant as it is now, in steps."""
        return 1.0 / float(self.w.detach().sigmoid())

    @property
    def spec(self) -> NeuronSpec:
        """The neuron as the engines see it."""
        return NeuronSpec(
            "plif",
            self.surrogate_function,
            self.v_threshold,
            self.v_reset,
            decay_input=self.decay_input,
            detach_reset=self.detach_reset,
        )

    def inverse_tau_parameter(self) -> Tensor:
        """Return the parameter w."""
        return self.w

    def extra_repr(self) -> str:
        return f"tau={self.tau:g}, decay_input={self.decay_input}, {super().extra_repr()}"
