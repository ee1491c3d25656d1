"""What spiking modules share: a step mode, and state that lives beside the parameters but never in a ``state_dict``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from dvsprep.errors import UsageError

STEP_MODES = ("s", "m")


class StepModule(nn.Module):
    """A module that runs single-step (``"s"``, [N, *]) or multi-step (``"m"``, [T, N, *])."""

    # A container whose children see single steps, or no steps at all, whatever its own mode is.
    keeps_step_mode_of_children: ClassVar[bool] = False
    _step_mode = "s"

    @property
    def step_mode(self) -> str:
        """``"s"`` or ``"m"``."""
        return self._step_mode

    @step_mode.setter
    def step_mode(self, step_mode: str) -> None:
        if step_mode not in STEP_MODES:
            raise UsageError(f"{type(self).__name__}: step_mode has to be 's' or 'm', got {step_mode!r}")
        self._step_mode = step_mode


class MemoryModule(StepModule):
    """A module with state: it gives ``single_step_forward``, and ``multi_step_forward`` where it knows a faster way.

    State is carried from call to call until ``reset``; it is never in the ``state_dict``, follows ``.to()``, and
    survives copying and pickling without its graph.
    """

    def __init__(self) -> None:
        super().__init__()
        self._initial: dict[str, Any] = {}

    def register_memory(self, name: str, initial: Any) -> None:
        """Make ``self.<name>`` a state that ``reset`` sets back to ``initial``."""
        self._initial[name] = initial
        setattr(self, name, initial)

    def reset(self) -> None:
        """Forget all state."""
        for name, initial in self._initial.items():
            setattr(self, name, initial)

    def detach(self) -> None:
        """Cut the state off its graph: truncated backpropagation through time."""
        for name in self._initial:
            if isinstance(state := getattr(self, name), Tensor):
                setattr(self, name, state.detach())

    def check_memory(self, name: str, shape: torch.Size, like: Tensor) -> None:
        """Raise the one error for a state that is of another batch or on another device than the input."""
        state = getattr(self, name)
        if isinstance(state, Tensor) and (state.shape != shape or state.device != like.device):
            raise UsageError(
                f"{type(self).__name__}: its state {name} is {list(state.shape)} on {state.device}, "
                f"the input needs {list(shape)} on {like.device}",
                hint="call functional.reset_net(net) between batches",
            )

    def forward(self, x: Tensor) -> Tensor:
        """Run one step or all of them, as ``step_mode`` says."""
        return self.multi_step_forward(x) if self.step_mode == "m" else self.single_step_forward(x)

    def single_step_forward(self, x: Tensor) -> Tensor:
        """Run one step; x is [N, *]."""
        raise NotImplementedError

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        """Run all steps; x_seq is [T, N, *]."""
        return torch.stack([self.single_step_forward(x) for x in steps(x_seq, type(self).__name__)])

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name in self._initial:
            if isinstance(state := getattr(self, name), Tensor):
                setattr(self, name, fn(state))
        return self

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        for name in self._initial:
            if isinstance(state[name], Tensor):
                state[name] = state[name].detach()
        return state


def steps(x_seq: Tensor, who: str) -> tuple[Tensor, ...]:
    """Return the time steps of a sequence; raise UsageError, in the name of ``who``, if it has none."""
    if x_seq.dim() < 2 or len(x_seq) == 0:
        raise UsageError(f"{who}: step_mode 'm' takes [T, N, *] with at least one step, got {list(x_seq.shape)}")
    return x_seq.unbind(0)
