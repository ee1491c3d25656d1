"""torch's layers with a step mode: multi-step folds time into the batch, so BatchNorm's statistics cover T and N."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from dvsprep.errors import UsageError
from train.base import StepModule
from train.functional import seq_to_ann_forward, step_of_all

SHAPES = {3: "N, C, L", 4: "N, C, H, W", 5: "N, C, D, H, W"}


class StatelessLayer(StepModule):
    """Stands in front of a layer of torch: its parameters, and ``step_mode``."""

    dims: ClassVar[int] = 0  # of one step, where the layer has one number only
    counts_steps: ClassVar[bool] = False  # whether equal steps may give another result than one of them

    def __init__(self, *args: Any, step_mode: str = "s", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.step_mode = step_mode

    def forward(self, x: Tensor, *args: Any) -> Tensor:
        """Run one step [N, *], or all of them [T, N, *] at once; one for all where they are one (``expand``)."""
        run = super().forward
        # torch takes an unbatched input too, so that a missing or spare time axis would pass for a batch unnoticed.
        if self.step_mode == "s":
            if self.dims and x.dim() == self.dims + 1:
                raise self._wrong(x, "", "for [T, N, *] call functional.set_step_mode(net, 'm')")
            return run(x, *args)  # type: ignore[no-any-return]
        if x.dim() < 3 or (self.dims and x.dim() != self.dims + 1):
            raise self._wrong(x, "T, ", "for [N, *] call functional.set_step_mode(net, 's')")
        if not self.counts_steps and (one := step_of_all(x)) is not None:
            y: Tensor = run(one, *args)
            return y.expand(len(x), *y.shape)
        return seq_to_ann_forward(x, lambda y: run(y, *args))

    def _wrong(self, x: Tensor, time: str, hint: str) -> UsageError:
        expected = f"[{time}{SHAPES.get(self.dims, 'N, *')}]"
        return UsageError(
            f"{type(self).__name__}: step_mode {self.step_mode!r} takes {expected}, got {list(x.shape)}", hint=hint
        )

    def extra_repr(self) -> str:
        return ", ".join(filter(None, [super().extra_repr(), f"step_mode={self.step_mode}"]))


class Conv1d(StatelessLayer, nn.Conv1d):
    """:class:`torch.nn.Conv1d` with a step mode."""

    dims = 3


class Conv2d(StatelessLayer, nn.Conv2d):
    """:class:`torch.nn.Conv2d` with a step mode."""

    dims = 4


class Conv3d(StatelessLayer, nn.Conv3d):
    """:class:`torch.nn.Conv3d` with a step mode."""

    dims = 5


class ConvTranspose1d(StatelessLayer, nn.ConvTranspose1d):
    """:class:`torch.nn.ConvTranspose1d` with a step mode."""

    dims = 3


class ConvTranspose2d(StatelessLayer, nn.ConvTranspose2d):
    """:class:`torch.nn.ConvTranspose2d` with a step mode."""

    dims = 4


class ConvTranspose3d(StatelessLayer, nn.ConvTranspose3d):
    """:class:`torch.nn.ConvTranspose3d` with a step mode."""

    dims = 5


class BatchNorm1d(StatelessLayer, nn.BatchNorm1d):
    """:class:`torch.nn.BatchNorm1d` with a step mode; one step is [N, C] or [N, C, L]."""

    counts_steps = True  # its running variance is the unbiased one


class BatchNorm2d(StatelessLayer, nn.BatchNorm2d):
    """:class:`torch.nn.BatchNorm2d` with a step mode."""

    dims = 4
    counts_steps = True


class BatchNorm3d(StatelessLayer, nn.BatchNorm3d):
    """:class:`torch.nn.BatchNorm3d` with a step mode."""

    dims = 5
    counts_steps = True


class GroupNorm(StatelessLayer, nn.GroupNorm):
    """:class:`torch.nn.GroupNorm` with a step mode."""


class Linear(StatelessLayer, nn.Linear):
    """:class:`torch.nn.Linear` with a step mode."""


class Flatten(StatelessLayer, nn.Flatten):
    """:class:`torch.nn.Flatten` with a step mode; ``start_dim`` counts within one step, so 1 keeps T and N."""


class Upsample(StatelessLayer, nn.Upsample):
    """:class:`torch.nn.Upsample` with a step mode."""


class MaxPool1d(StatelessLayer, nn.MaxPool1d):
    """:class:`torch.nn.MaxPool1d` with a step mode."""

    dims = 3


class MaxPool2d(StatelessLayer, nn.MaxPool2d):
    """:class:`torch.nn.MaxPool2d` with a step mode."""

    dims = 4


class MaxPool3d(StatelessLayer, nn.MaxPool3d):
    """:class:`torch.nn.MaxPool3d` with a step mode."""

    dims = 5


class AvgPool1d(StatelessLayer, nn.AvgPool1d):
    """:class:`torch.nn.AvgPool1d` with a step mode."""

    dims = 3


class AvgPool2d(StatelessLayer, nn.AvgPool2d):
    """:class:`torch.nn.AvgPool2d` with a step mode."""

    dims = 4


class AvgPool3d(StatelessLayer, nn.AvgPool3d):
    """:class:`torch.nn.AvgPool3d` with a step mode."""

    dims = 5


class AdaptiveAvgPool1d(StatelessLayer, nn.AdaptiveAvgPool1d):
    """:class:`torch.nn.AdaptiveAvgPool1d` with a step mode."""

    dims = 3


class AdaptiveAvgPool2d(StatelessLayer, nn.AdaptiveAvgPool2d):
    """:class:`torch.nn.AdaptiveAvgPool2d` with a step mode."""

    dims = 4


class AdaptiveAvgPool3d(StatelessLayer, nn.AdaptiveAvgPool3d):
    """:class:`torch.nn.AdaptiveAvgPool3d` with a step mode."""

    dims = 5


class VotingLayer(StepModule):
    """The mean over every ``voting_size`` neighbours of the last axis: [*, C voting_size] to [*, C]."""

    def __init__(self, voting_size: int = 10, step_mode: str = "s") -> None:
        super().__init__()
        if voting_size < 1:
            raise UsageError(f"VotingLayer: voting_size has to be at least 1, got {voting_size}")
        self.voting_size = voting_size
        self.step_mode = step_mode

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] % self.voting_size:
            raise UsageError(
                f"VotingLayer: the last axis has to be a multiple of voting_size {self.voting_size}, got {x.shape[-1]}"
            )
        return x.reshape(*x.shape[:-1], x.shape[-1] // self.voting_size, self.voting_size).mean(-1)

    def extra_repr(self) -> str:
        return f"voting_size={self.voting_size}, step_mode={self.step_mode}"
