"""Functions on whole networks, and the choice of an engine."""

from __future__ import annotations

import sys
import types
from importlib.metadata import EntryPoint

import pytest
import torch
from torch import nn

from dvsprep.errors import BackendError, UsageError
from train import backends, functional, layer, neuron, surrogate
from train.backends import NeuronSpec


def net() -> nn.Sequential:
    return nn.Sequential(
        layer.Conv2d(2, 4, 3, padding=1, bias=False),
        layer.BatchNorm2d(4),
        neuron.LIFNode(surrogate_function=surrogate.ATan()),
        layer.MaxPool2d(2),
        layer.Flatten(),
        layer.Dropout(0.5),
        layer.Linear(36, 20),
        layer.ElementWiseRecurrentContainer(neuron.IFNode(), torch.add),
        layer.VotingLayer(10),
    )


def test_set_step_mode_does_not_enter_containers() -> None:
    model = net()
    functional.set_step_mode(model, "m")
    assert {m.step_mode for m in model} == {"m"}
    assert model[7].sub_module.step_mode == "s"
    y = model(torch.rand(4, 3, 2, 6, 6))
    assert y.shape == (4, 3, 2)
    functional.set_step_mode(model, "s")
    functional.reset_net(model)
    assert model(torch.rand(3, 2, 6, 6)).shape == (3, 2)
    with pytest.raises(UsageError, match="'s' or 'm'"):
        functional.set_step_mode(model, "multi")


def test_a_whole_net_gives_equal_numbers_in_both_step_modes() -> None:
    model = net().eval()  # BatchNorm's statistics of a step are not those of a sequence
    x = (torch.rand(5, 3, 2, 6, 6) * 4).requires_grad_()
    single = torch.stack([model(step) for step in x])
    a = torch.autograd.grad(single.sum(), [x, *model.parameters()])
    functional.reset_net(model)
    functional.set_step_mode(model, "m")
    multi = model(x)
    b = torch.autograd.grad(multi.sum(), [x, *model.parameters()])
    assert multi.any()
    assert torch.allclose(single, multi, atol=1e-6)
    for one, other in zip(a, b, strict=True):
        assert torch.allclose(one, other, atol=1e-5 * max(1.0, float(other.abs().max())))


def test_reset_net_forgets_everything() -> None:
    model = net()
    functional.set_step_mode(model, "m")
    torch.manual_seed(0)
    first = model(torch.ones(4, 3, 2, 6, 6))
    functional.reset_net(model)
    torch.manual_seed(0)
    model(torch.ones(4, 3, 2, 6, 6)).sum().backward()
    functional.reset_net(model)
    assert model(torch.rand(2, 7, 2, 6, 6)).shape == (2, 7, 2)
    assert first.shape == (4, 3, 2)


def test_set_backend_of_all_neurons_or_of_some() -> None:
    model = net()
    functional.set_backend(model, "auto", instance=neuron.LIFNode)
    assert model[2].backend == "auto"
    assert model[7].sub_module.backend == "torch"
    functional.set_backend(model, "auto")
    assert model[7].sub_module.backend == "auto"
    assert "backend=auto" in repr(model)
    with pytest.raises(UsageError, match="no backend is named 'cuda'"):
        functional.set_backend(model, "cuda")


def test_multi_step_forward_and_seq_to_ann_forward_take_one_module_or_many() -> None:
    x = torch.randn(3, 2, 4)
    linear, node = nn.Linear(4, 4), neuron.IFNode()
    expected = torch.stack([torch.relu(linear(step)) for step in x])
    assert torch.allclose(functional.seq_to_ann_forward(x, [linear, torch.relu]), expected)
    assert torch.allclose(functional.multi_step_forward(x, (linear, torch.relu)), expected)
    assert torch.equal(functional.multi_step_forward(x, node), neuron.IFNode(step_mode="m")(x))


class Fake:
    """An engine that a package could bring."""

    name = "fake"

    def __init__(self, cause: Exception | None = None, refusal: str | None = None) -> None:
        self.cause, self.refusal = cause, refusal

    def why_not(self) -> Exception | None:
        return self.cause

    def refuses(self, spec: NeuronSpec, x: torch.Tensor) -> str | None:
        return self.refusal

    def multi_step(self, spec, x_seq, v, w=None, *, store_v_seq=False):
        return torch.full_like(x_seq, 7), v, None


@pytest.fixture
def fake_engine(monkeypatch: pytest.MonkeyPatch):
    def install(engine: Fake | None) -> None:
        module = types.ModuleType("fake_engine")
        if engine is not None:
            module.ENGINE = engine  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "fake_engine", module)
        monkeypatch.setitem(backends.BUILT_IN, "fake", "fake_engine")
        monkeypatch.setitem(backends.FASTEST, "cpu", ("fake",))
        backends.get.cache_clear()
        backends._choose.cache_clear()

    yield install
    backends.get.cache_clear()
    backends._choose.cache_clear()


SPEC = NeuronSpec("if", surrogate.ATan())


def test_auto_takes_the_fastest_and_says_why(fake_engine) -> None:
    fake_engine(Fake())
    engine, reason = backends.choose(torch.ones(2), SPEC)
    assert engine.name == "fake"
    assert reason == "fake is the fastest for if neurons on cpu"
    assert neuron.IFNode(step_mode="m", backend="auto")(torch.ones(2, 3)).unique().item() == 7


@pytest.mark.parametrize(
    ("engine", "says"),
    [
        (Fake(refusal="atan is not compiled"), "fake refuses: atan is not compiled"),
        (
            Fake(cause=ImportError("No module named 'fakelib'")),
            "fake cannot be used here: ImportError: No module named",
        ),
        (None, "AttributeError"),
    ],
)
def test_auto_falls_back_to_torch_and_says_why(fake_engine, engine: Fake | None, says: str) -> None:
    fake_engine(engine)
    chosen, reason = backends.choose(torch.ones(2), SPEC)
    assert chosen.name == "torch"
    assert says in reason


def test_no_engine_is_faster_on_a_strange_device() -> None:
    chosen, reason = backends.choose(torch.ones(2, device="meta"), SPEC)
    assert chosen.name == "torch"
    assert reason == "no faster engine is known for meta"


def test_a_backend_that_cannot_run_here_is_an_error_with_the_real_cause(fake_engine) -> None:
    fake_engine(Fake(cause=ImportError("libfake.so: cannot open\nshared object")))
    model = net()
    with pytest.raises(BackendError, match=r"ImportError: libfake.so: cannot open shared object \(use") as error:
        functional.set_backend(model, "fake")
    assert isinstance(error.value.__cause__, ImportError)
    assert model[2].backend == "torch"
    node = neuron.IFNode(step_mode="m", backend="fake")
    with pytest.raises(BackendError, match="libfake"):
        node(torch.ones(2, 3))
    assert node.backend == "fake"


def test_an_installed_package_brings_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("their_engine")
    module.ENGINE = Fake()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "their_engine", module)
    entry = EntryPoint("theirs", "their_engine:ENGINE", backends.GROUP)

    def entry_points(group: str, name: str = "theirs"):
        return [entry] if (group, name) == (backends.GROUP, "theirs") else []

    monkeypatch.setattr(backends, "entry_points", entry_points)
    assert "theirs" in backends.names()
    assert neuron.IFNode(step_mode="m", backend="theirs")(torch.ones(2, 3)).unique().item() == 7
    backends.get.cache_clear()
