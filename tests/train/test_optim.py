"""Optimisers, schedules, targets and mixing."""

import math
from argparse import Namespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sources import TinyNet, TinyTrainer
from torch import nn

from train import optim


def flags(*argv: str) -> Namespace:
    return TinyTrainer().get_args_parser().parse(argv)


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_every_optimiser_lowers_a_loss(name):
    args = flags("--opt", name, "--lr", "0.01")
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = optim.OPTIMIZERS[name]([weight], args)
    for _ in range(100):
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()
    assert float(weight.detach().square().sum()) < 5 * 0.8


def test_nesterov_and_momentum_are_passed_on():
    args = flags("--opt", "sgd_nesterov", "--momentum", "0.7")
    group = optim.OPTIMIZERS["sgd_nesterov"]([nn.Parameter(torch.ones(1))], args).param_groups[0]
    assert (group["nesterov"], group["momentum"], group["lr"]) == (True, 0.7, 0.02)


def test_norms_and_time_constants_have_their_own_weight_decay():
    net = TinyNet()
    groups = optim.parameter_groups(net, flags("--wd", "0.1", "--norm-weight-decay", "0"))
    names = {id(p): name for name, p in net.named_parameters()}
    decays = {names[id(p)]: group["weight_decay"] for group in groups for p in group["params"]}
    assert decays == {
        "inner.weight": 0.1, "inner.bias": 0.1, "outer.weight": 0.1, "outer.bias": 0.1,
        "norm.weight": 0, "norm.bias": 0, "sn1.w": 0,
    }  # fmt: skip
    assert len(optim.parameter_groups(net, flags("--wd", "0.1"))) == 1


def rates(*argv: str, epochs: int = 10) -> list[float]:
    args = flags("--epochs", str(epochs), "--lr", "1", *argv)
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], args.lr)
    schedule, found = optim.schedule(optimizer, args), []
    for _ in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_the_cosine_is_torch_s():
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], 1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    expected = []
    for _ in range(10):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    assert rates() == pytest.approx(expected)


def test_steps_exponentials_and_warm_up():
    assert rates("--lr-scheduler", "step", "--lr-step-size", "3", epochs=7) == pytest.approx(
        [1, 1, 1, 0.1, 0.1, 0.1, 0.01]
    )
    assert rates("--lr-scheduler", "exp", "--lr-gamma", "0.5", epochs=3) == [1, 0.5, 0.25]
    assert rates("--lr-scheduler", "none", epochs=3) == [1, 1, 1]
    linear = rates("--lr-warmup-epochs", "4", "--lr-scheduler", "none", epochs=6)
    assert linear == pytest.approx([0.01, 0.2575, 0.505, 0.7525, 1, 1])
    constant = rates("--lr-warmup-epochs", "2", "--lr-warmup-method", "constant", "--lr-warmup-decay", "0.5", epochs=4)
    assert constant == pytest.approx([0.5, 0.5, 1, 0.5])


@given(st.floats(0, 1), st.integers(2, 20))
def test_smoothed_targets_are_torch_s(smoothing, classes):
    labels = torch.tensor([0, classes - 1])
    target = optim.soft_targets(labels, classes, smoothing)
    output = torch.linspace(-1, 1, 2 * classes).view(2, classes)
    torch.testing.assert_close(
        optim.LOSSES["ce"](output, target), nn.functional.cross_entropy(output, labels, label_smoothing=smoothing)
    )
    torch.testing.assert_close(target.sum(1), torch.ones(2))


@settings(deadline=None)
@given(st.integers(0, 1000), st.sampled_from([(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)]), st.booleans())
def test_mixing_leaves_targets_in_proportion_to_what_is_seen(seed, alphas, in_time):
    torch.manual_seed(seed)
    N, H, W = 4, 8, 6
    x = torch.arange(1.0, N + 1).view(N, 1, 1, 1).expand(N, 2, H, W)
    x = x.expand(3, N, 2, H, W).clone() if in_time else x.clone()
    target = torch.eye(N)
    mixed, soft = optim.mix(x, target, *alphas)
    torch.testing.assert_close(soft.sum(1), torch.ones(N))
    # Sample n shows n + 1, its neighbour n; the mean over pixels is the mean under the targets.
    seen = mixed.mean((0, 2, 3, 4)) if in_time else mixed.mean((1, 2, 3))
    torch.testing.assert_close(seen, soft @ torch.arange(1.0, N + 1))
    if in_time:
        assert torch.equal(mixed[0], mixed[2])


def test_no_mixing_draws_no_random_number():
    before = torch.get_rng_state()
    x, target = torch.ones(2, 2, 1, 4, 4), torch.eye(2)
    assert optim.mix(x, target, 0, 0) == (x, target)
    assert torch.equal(before, torch.get_rng_state())


def test_the_average_follows_the_network_and_its_buffers():
    net = TinyNet()
    average = optim.averaged(net, 0.5)
    with torch.no_grad():
        net.inner.bias.fill_(1.0)
        net.norm.running_mean.fill_(2.0)
    average.update_parameters(net)  # the first update copies
    with torch.no_grad():
        net.inner.bias.fill_(3.0)
        net.norm.running_mean.fill_(4.0)
    average.update_parameters(net)
    assert average.module.inner.bias.tolist() == [2.0] * 16
    assert average.module.norm.running_mean.tolist() == [3.0] * 16


def test_infinity_and_nan_are_found():
    fine = torch.ones(2)
    assert optim.all_finite([fine, torch.tensor([1, 2])])
    assert not optim.all_finite([fine, torch.tensor(math.nan)])
    assert not optim.all_finite([torch.tensor(math.inf), fine])


@pytest.mark.parametrize("name", ["sgd", "sgd_nesterov", "adam", "adamw"])
def test_one_kernel_steps_as_torch_s_own_loop(name):
    ends = []
    for device in ("cpu", "auto"):
        args = flags("--opt", name, "--lr", "0.01", "--wd", "0.1", "--device", device)
        torch.manual_seed(0)
        parameters = [nn.Parameter(torch.randn(shape)) for shape in ((7, 5), (3,), ())]  # PLIF's w has no dimension
        optimizer = optim.OPTIMIZERS[name]([{"params": parameters, "weight_decay": 0.1}], args)
        assert optimizer.defaults["fused"] is (True if device == "cpu" else None)
        for _ in range(5):
            for p in parameters:
                p.grad = torch.randn(p.shape)
            optimizer.step()
        ends.append(parameters)
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other)
