"""BatchNorm whose statistics cover the batches of all processes, on any device (torch's own has no CPU)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from train import distributed
from train.layer import stateless


class _Synced(_BatchNorm):
    """BatchNorm of one batch that lies spread over processes; they may hold different numbers of samples."""

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.track_running_stats) or distributed.world() == 1:
            return super().forward(x)
        self._check_input_dim(x)  # type: ignore[no-untyped-call]
        axes, shape = [0, *range(2, x.dim())], [1, -1] + [1] * (x.dim() - 2)
        wide = x.to(self.running_mean.dtype)  # type: ignore[union-attr]
        sums = distributed.differentiable_total(
            nn.functional.pad(wide.sum(axes), (0, 1), value=x.numel() / x.shape[1])  # the count, in the same message
        )
        n = sums[-1].detach()
        mean = sums[:-1] / n
        centred = wide - mean.view(shape)
        variance = distributed.differentiable_total(centred.square().sum(axes)) / n
        self._track(mean.detach(), (variance * (n / (n - 1))).detach())
        y = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(x.dtype)

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics; the variance is the unbiased one, as in torch."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        factor = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, factor)
        self.running_var.lerp_(variance, factor)


class _Torch1d(_Synced, nn.BatchNorm1d):
    pass


class _Torch2d(_Synced, nn.BatchNorm2d):
    pass


class _Torch3d(_Synced, nn.BatchNorm3d):
    pass


class SyncBatchNorm1d(stateless.StatelessLayer, _Torch1d):
    """:class:`BatchNorm1d` over all processes."""

    counts_steps = True


class SyncBatchNorm2d(stateless.StatelessLayer, _Torch2d):
    """:class:`BatchNorm2d` over all processes."""

    dims = 4
    counts_steps = True


class SyncBatchNorm3d(stateless.StatelessLayer, _Torch3d):
    """:class:`BatchNorm3d` over all processes."""

    dims = 5
    counts_steps = True


_SYNCED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: _Torch1d,
    nn.BatchNorm2d: _Torch2d,
    nn.BatchNorm3d: _Torch3d,
    stateless.BatchNorm1d: SyncBatchNorm1d,
    stateless.BatchNorm2d: SyncBatchNorm2d,
    stateless.BatchNorm3d: SyncBatchNorm3d,
}


def sync_batch_norms(net: nn.Module) -> nn.Module:
    """Let every BatchNorm of a network cover all processes; parameters and buffers stay where they are."""
    for module in net.modules():
        module.__class__ = _SYNCED.get(type(module), type(module))
    return net
