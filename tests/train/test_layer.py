"""Layers and containers: single-step equals multi-step, and torch; state; what they refuse."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from dvsprep.errors import UsageError
from train import functional, layer, neuron

# (layer, shape of one step)
STATELESS = [
    (lambda: layer.Conv1d(3, 4, 3, padding=1), (2, 3, 8)),
    (lambda: layer.Conv2d(3, 4, kernel_size=3, padding=1, bias=False), (2, 3, 8, 9)),
    (lambda: layer.Conv3d(2, 3, 3), (2, 2, 4, 5, 6)),
    (lambda: layer.ConvTranspose1d(3, 4, 3), (2, 3, 8)),
    (lambda: layer.ConvTranspose2d(3, 4, 2, stride=2), (2, 3, 4, 5)),
    (lambda: layer.ConvTranspose3d(2, 3, 2), (2, 2, 3, 3, 4)),
    (lambda: layer.BatchNorm1d(3).eval(), (2, 3, 8)),
    (lambda: layer.BatchNorm1d(3).eval(), (4, 3)),
    (lambda: layer.BatchNorm2d(3).eval(), (2, 3, 4, 5)),
    (lambda: layer.BatchNorm3d(3).eval(), (2, 3, 2, 4, 5)),
    (lambda: layer.GroupNorm(2, 4), (2, 4, 3)),
    (lambda: layer.Linear(5, 4), (3, 5)),
    (lambda: layer.Linear(5, 4), (3, 2, 5)),
    (lambda: layer.Flatten(), (2, 3, 4, 5)),
    (lambda: layer.Flatten(start_dim=2), (2, 3, 4, 5)),
    (lambda: layer.Upsample(scale_factor=2), (2, 3, 4, 5)),
    (lambda: layer.MaxPool1d(2), (2, 3, 8)),
    (lambda: layer.MaxPool2d(2, 2), (2, 3, 8, 8)),
    (lambda: layer.MaxPool3d(2), (2, 3, 4, 4, 4)),
    (lambda: layer.AvgPool1d(2), (2, 3, 8)),
    (lambda: layer.AvgPool2d(2), (2, 3, 8, 8)),
    (lambda: layer.AvgPool3d(2), (2, 3, 4, 4, 4)),
    (lambda: layer.AdaptiveAvgPool1d(1), (2, 3, 8)),
    (lambda: layer.AdaptiveAvgPool2d((1, 2)), (2, 3, 8, 8)),
    (lambda: layer.AdaptiveAvgPool3d(1), (2, 3, 4, 4, 4)),
    (lambda: layer.VotingLayer(3), (2, 12)),
]
STATEFUL = [
    (lambda: layer.Dropout(0.4), (3, 7)),
    (lambda: layer.Dropout2d(0.4), (3, 7, 2, 2)),
    (lambda: layer.SynapseFilter(2.0), (3, 7)),
    (lambda: layer.SynapseFilter(3.0, learnable=True), (3, 7)),
    (lambda: layer.ElementWiseRecurrentContainer(neuron.IFNode(), torch.add), (3, 7)),
    (lambda: layer.LinearRecurrentContainer(nn.Sequential(nn.Linear(7, 4), neuron.LIFNode()), 7, 4), (3, 7)),
    (lambda: layer.LinearRecurrentContainer(neuron.IFNode(), 7, 7, bias=False), (2, 3, 7)),
]


def ids(case) -> str:
    return type(case[0]()).__name__


@pytest.mark.parametrize("case", [*STATELESS, *STATEFUL], ids=ids)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_single_and_multi_step_give_equal_numbers(case, dtype: torch.dtype) -> None:
    make, shape = case
    if dtype == torch.bfloat16 and isinstance(make(), nn.AvgPool3d):
        pytest.skip("torch has no AvgPool3d in bfloat16 on the CPU")
    torch.manual_seed(0)
    single = make().to(dtype)
    multi = copy.deepcopy(single)
    functional.set_step_mode(multi, "m")
    x = torch.randn(5, *shape, dtype=dtype)
    torch.manual_seed(1)  # Dropout draws its mask once in both
    expected = torch.stack([single(step) for step in x])
    torch.manual_seed(1)
    got = multi(x)
    assert got.dtype == dtype
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 5e-2}[dtype]
    assert torch.allclose(got.double(), expected.double(), rtol=tolerance, atol=tolerance)
    a = torch.autograd.grad(expected.sum(), list(single.parameters()), allow_unused=True) if got.requires_grad else []
    b = torch.autograd.grad(got.sum(), list(multi.parameters()), allow_unused=True) if got.requires_grad else []
    for one, other in zip(a, b, strict=True):
        assert torch.allclose(one.double(), other.double(), rtol=tolerance * 10, atol=tolerance * 10)


@pytest.mark.parametrize("case", [*STATELESS, *STATEFUL], ids=ids)
def test_step_mode_is_printed(case) -> None:
    module = case[0]()
    functional.set_step_mode(module, "m")
    assert repr(module).count("step_mode=m") == 1


@pytest.mark.parametrize("case", STATELESS[:-1], ids=ids)
def test_it_is_torchs_layer_with_torchs_parameters(case) -> None:
    module = case[0]()
    twin = getattr(nn, type(module).__name__)
    assert isinstance(module, twin)
    plain = twin.__new__(twin)
    plain.__dict__.update(copy.deepcopy(module).__dict__)
    assert list(plain.state_dict()) == list(module.state_dict())
    x = torch.randn(2, *case[1])
    assert torch.equal(module(x[0]), plain(x[0]))


def test_batch_norm_covers_time_and_batch() -> None:
    x = torch.randn(5, 4, 3, 2, 2) * 3 + 1
    ours, torchs = layer.BatchNorm2d(3, step_mode="m"), nn.BatchNorm2d(3)
    assert torch.equal(ours(x).flatten(0, 1), torchs(x.flatten(0, 1)))
    assert torch.equal(ours.running_mean, torchs.running_mean)


def test_channels_last_is_folded_without_a_copy() -> None:
    x = torch.randn(6, 3, 8, 8).contiguous(memory_format=torch.channels_last).unflatten(0, (2, 3))
    seen = []
    functional.seq_to_ann_forward(x, lambda y: seen.append(y) or y)
    assert seen[0].data_ptr() == x.data_ptr()
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("case", STATELESS, ids=ids)
def test_an_empty_batch(case) -> None:
    make, shape = case
    if isinstance(make(), layer.MaxPool1d | layer.AdaptiveAvgPool1d | layer.ConvTranspose1d | layer.GroupNorm):
        shape = (2, *shape[1:])  # torch itself refuses an empty batch here
    else:
        shape = (0, *shape[1:])
    module = make()
    functional.set_step_mode(module, "m")
    assert module(torch.zeros(4, *shape)).shape[:2] == (4, shape[0])


@pytest.mark.parametrize("case", STATEFUL, ids=ids)
def test_state_is_no_parameter_and_survives_copy_and_pickle(case) -> None:
    make, shape = case
    module = make()
    names = set(module.state_dict())
    x = torch.rand(6, *shape, requires_grad=True)
    functional.set_step_mode(module, "m")
    module(x)
    assert set(module.state_dict()) == names
    others = [copy.deepcopy(module), pickle.loads(pickle.dumps(module))]
    expected = module(x)
    for other in others:
        assert torch.equal(other(x), expected)
    module.double()(x.double())
    functional.reset_net(module)
    assert all(getattr(module, name) is None for name in module._initial)


@pytest.mark.parametrize("case", STATEFUL, ids=ids)
@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_another_batch_raises_the_error_that_names_reset_net(case, step_mode: str) -> None:
    make, shape = case
    module = make()
    functional.set_step_mode(module, step_mode)
    time = (3,) if step_mode == "m" else ()
    module(torch.rand(*time, *shape))
    with pytest.raises(UsageError, match=r"functional\.reset_net"):
        module(torch.rand(*time, 5, *shape[1:]))
    functional.reset_net(module)
    assert module(torch.rand(*time, 5, *shape[1:])).shape[len(time)] == 5


class TestDropout:
    def test_one_mask_for_all_steps_until_reset(self) -> None:
        module = layer.Dropout(0.5, step_mode="m")
        y = module(torch.ones(8, 4, 100))
        assert set(y.unique().tolist()) == {0.0, 2.0}
        assert (y == y[0]).all()
        assert torch.equal(module(torch.ones(2, 4, 100))[0], y[0])
        module.reset()
        assert not torch.equal(module(torch.ones(2, 4, 100))[0], y[0])

    def test_the_mean_is_kept_and_evaluation_passes_through(self) -> None:
        module = layer.Dropout(0.3)
        x = torch.ones(50, 1000)
        assert abs(float(module(x).mean()) - 1) < 0.02
        assert torch.equal(module.eval()(x), x)

    def test_whole_channels(self) -> None:
        y = layer.Dropout2d(0.5, step_mode="m")(torch.ones(3, 4, 20, 5, 5))
        assert (y == y[:1, :, :, :1, :1]).all()
        assert set(y.unique().tolist()) == {0.0, 2.0}


class TestSynapseFilter:
    @pytest.mark.parametrize("learnable", [False, True])
    def test_decays_only_where_no_spike_arrives(self, learnable: bool) -> None:
        module = layer.SynapseFilter(4.0, learnable)
        y = [module(torch.tensor([x])).item() for x in (1.0, 0.0, 0.0, 1.0)]
        assert y == pytest.approx([1.0, 0.75, 0.5625, 1.5625])
        assert ("w" in dict(module.named_parameters())) == learnable
        assert "tau=4," in repr(module)

    def test_tau_learns(self) -> None:
        module = layer.SynapseFilter(4.0, learnable=True, step_mode="m")
        module(torch.tensor([[1.0], [0.0], [0.0]])).sum().backward()
        q = 0.25  # y = 1, 1 - q, (1 - q)^2
        assert float(module.w.grad) == pytest.approx((-1 - 2 * (1 - q)) * q * (1 - q))


class TestRecurrent:
    def test_the_example_of_the_field(self) -> None:
        net = layer.ElementWiseRecurrentContainer(neuron.IFNode(), lambda x, y: x + y, step_mode="m")
        x = torch.zeros(8, 1)
        x[0] = 1.5
        assert net(x).flatten().tolist() == [1.0] * 8

    def test_the_input_is_the_first_argument_the_last_output_the_second(self) -> None:
        net = layer.ElementWiseRecurrentContainer(nn.Identity(), lambda x, y: x - 0.5 * y, step_mode="m")
        assert net(torch.tensor([[1.0], [1.0], [1.0]])).flatten().tolist() == [1.0, 0.5, 0.75]

    def test_linear_feedback_as_written(self) -> None:
        net = layer.LinearRecurrentContainer(nn.Tanh(), 3, 3, step_mode="m")
        x, y = torch.randn(4, 2, 3), torch.zeros(2, 3)
        expected = []
        for step in x:
            y = torch.tanh(torch.cat([step, y], 1) @ net.rc.weight.T + net.rc.bias)
            expected.append(y)
        assert torch.allclose(net(x), torch.stack(expected), atol=1e-6)
        assert set(net.state_dict()) == {"rc.weight", "rc.bias"}

    def test_gradients_go_through_time_until_detached(self) -> None:
        net = layer.ElementWiseRecurrentContainer(nn.Identity(), torch.add)
        x = torch.ones(1, requires_grad=True)
        net(x)
        assert torch.autograd.grad(net(x * 0), x, retain_graph=True)[0].item() == 1
        functional.detach_net(net)
        assert torch.autograd.grad(net(x * 0), x)[0].item() == 0


class TestContainers:
    def test_loop_and_fold(self) -> None:
        x = torch.randn(4, 2, 3, 6, 6)
        conv = nn.Conv2d(3, 5, 3)
        folded, looped = layer.SeqToANNContainer(conv, nn.ReLU()), layer.MultiStepContainer(conv, nn.ReLU())
        expected = torch.stack([torch.relu(conv(step)) for step in x])
        for container in (folded, looped):
            assert torch.allclose(container(x), expected, atol=1e-6)
            functional.set_step_mode(container, "s")
            assert torch.equal(container(x[0]), torch.relu(conv(x[0])))

    def test_neurons_inside_run_step_by_step(self) -> None:
        x = torch.randn(6, 2, 3)
        net = nn.Sequential(layer.MultiStepContainer(neuron.LIFNode()), neuron.IFNode())
        functional.set_step_mode(net, "m")
        assert net[0][0].step_mode == "s"
        assert net[1].step_mode == "m"
        assert torch.equal(net[0](x), neuron.LIFNode(step_mode="m")(x))

    @pytest.mark.parametrize(
        ("make", "says"),
        [
            (lambda: layer.MultiStepContainer(neuron.IFNode(step_mode="m")), "has step_mode 'm', expected 's'"),
            (lambda: layer.SeqToANNContainer(nn.Sequential(neuron.IFNode())), "stateless modules only, got a IFNode"),
            (
                lambda: layer.ElementWiseRecurrentContainer(neuron.IFNode(step_mode="m"), torch.add),
                "has step_mode 'm', expected 's'",
            ),
            (lambda: layer.LinearRecurrentContainer(neuron.IFNode(step_mode="m"), 2, 2), "expected 's'"),
        ],
    )
    def test_a_module_that_would_take_a_step_for_a_sequence_is_refused(self, make, says: str) -> None:
        with pytest.raises(UsageError) as error:
            make()
        assert says in str(error.value)


@pytest.mark.parametrize(
    ("make", "shape", "says"),
    [
        (lambda: layer.Conv2d(2, 3, 3), (4, 1, 2, 8, 8), "set_step_mode(net, 'm')"),
        (lambda: layer.Conv2d(2, 3, 3, step_mode="m"), (4, 2, 8, 8), "takes [T, N, C, H, W], got [4, 2, 8, 8]"),
        (lambda: layer.Linear(2, 3, step_mode="m"), (4, 2), "takes [T, N, *], got [4, 2]"),
        (lambda: layer.VotingLayer(10), (4, 25), "multiple of voting_size 10, got 25"),
        (lambda: layer.Dropout2d(), (4, 25), "one step has to be [N, C, H, W]"),
        (lambda: layer.Conv2d(2, 3, 3, step_mode="t"), (), "'s' or 'm', got 't'"),
        (lambda: layer.Dropout(1.0), (), "p has to be in [0, 1)"),
        (lambda: layer.SynapseFilter(0.5), (), "tau has to be greater than 1"),
        (lambda: layer.VotingLayer(0), (), "voting_size has to be at least 1"),
        (lambda: layer.SynapseFilter(step_mode="m"), (0, 3), "at least one step"),
    ],
)
def test_wrong_shapes_and_arguments_get_one_clear_line(make, shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(UsageError) as error:
        make()(torch.ones(shape))
    assert says in str(error.value)
