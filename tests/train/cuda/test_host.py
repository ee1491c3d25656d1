"""The host side: devices, streams, argument lists, layouts; and the stand-in refuses what CuPy would get wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from cuda_cpu import LaunchError
from standin_cupy import StandIn, World
from torch import Tensor, nn

from dvsprep.errors import BackendError, UsageError
from train import backends, functional, layer, neuron, surrogate
from train.backends import NeuronSpec
from train.backends.cupy import Cuda, CupyEngine, options

PLIF = NeuronSpec("plif", surrogate.ATan())
FORWARD, BACKWARD = (options(PLIF, torch.float32, backward=b) for b in (False, True))


def leaves(*shape: int) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=g) + 0.5
    return [t.requires_grad_() for t in (x, torch.zeros(shape[1:]), torch.tensor(0.3))]


def forward_and_backward(engine: CupyEngine, inputs: list[Tensor]) -> list[Tensor]:
    s_seq, v_last, _ = engine.multi_step(PLIF, *inputs)
    return [s_seq, v_last, *torch.autograd.grad(s_seq.sum() + v_last.sum(), inputs)]


def test_kernels_run_on_the_device_of_the_input_and_on_torchs_stream_there(find) -> None:
    world = World(find, devices=3)
    world.torch_streams[2] = 0x5EED
    world.holder = lambda x: 2
    forward_and_backward(CupyEngine(StandIn(world)), leaves(4, 5))
    assert world.launches == [("forward", 2, 0x5EED, FORWARD), ("backward", 2, 0x5EED, BACKWARD)]
    assert world.current_device == 0
    assert world.cupy_stream is None


def test_the_current_device_stays_even_if_a_launch_fails(find) -> None:
    world = World(find, devices=2)
    world.current_device, world.holder = 1, lambda x: 0
    engine = CupyEngine(StandIn(world))
    forward_and_backward(engine, leaves(4, 5))
    assert world.current_device == 1

    def broken(*_: object) -> None:
        raise RuntimeError("cudaErrorLaunchFailure")

    world.find = broken  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match="cudaErrorLaunchFailure"):
        forward_and_backward(engine, leaves(4, 5))
    assert world.current_device == 1
    assert world.cupy_stream is None


def test_kernels_are_compiled_when_first_used_once_for_a_device_and_variant(find) -> None:
    world = World(find, devices=2)
    engine = CupyEngine(StandIn(world))
    assert world.compiled == []
    for device in (0, 1, 0, 1):
        world.holder = lambda x, device=device: device  # type: ignore[misc]
        forward_and_backward(engine, leaves(4, 5))
    assert world.compiled == [(0, FORWARD), (0, BACKWARD), (1, FORWARD), (1, BACKWARD)]
    assert len(world.launches) == 8


def test_an_empty_batch_launches_nothing(world: World) -> None:
    outputs = forward_and_backward(CupyEngine(StandIn(world)), leaves(4, 0, 3))
    assert [list(t.shape) for t in outputs] == [[4, 0, 3], [0, 3], [4, 0, 3], [0, 3], []]
    assert outputs[-1] == 0
    assert world.launches == []


class Spy(StandIn):
    """Keeps the arguments of each launch."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.arguments: list[tuple[object, ...]] = []

    def launch(self, name, variant, neurons, like, args) -> None:
        self.arguments.append(tuple(args))
        super().launch(name, variant, neurons, like, args)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_dense_inputs_are_not_copied_and_outputs_keep_their_layout(world: World, layout: torch.memory_format) -> None:
    spy = Spy(world)
    x = torch.randn(8, 3, 5, 7).contiguous(memory_format=layout).unflatten(0, (4, 2)).requires_grad_()
    v = torch.zeros_like(x[0]).requires_grad_()
    s_seq, v_last, v_seq = CupyEngine(spy).multi_step(NeuronSpec("if", surrogate.ATan()), x, v, store_v_seq=True)
    assert v_seq is not None
    upstream = torch.randn_like(s_seq)
    (grad_x,) = torch.autograd.grad(s_seq, x, upstream)
    forward, backward = spy.arguments
    assert forward[0].data_ptr() == x.data_ptr()
    assert forward[1].data_ptr() == v.data_ptr()
    assert backward[0].data_ptr() == upstream.data_ptr()
    assert s_seq.stride() == v_seq.stride() == grad_x.stride() == x.stride()
    assert v_last.stride() == v.stride()


def test_potentials_are_stored_only_for_a_backward(world: World) -> None:
    spy = Spy(world)
    engine = CupyEngine(spy)
    inputs = leaves(4, 5)
    with torch.no_grad():
        engine.multi_step(PLIF, *inputs)
    engine.multi_step(PLIF, *(t.detach() for t in inputs))
    s_seq, _, _ = engine.multi_step(PLIF, *inputs)
    assert [args[5] is None for args in spy.arguments] == [True, True, False]
    s_seq.sum().backward()
    assert [args is None for args in spy.arguments[-1][1:3]] == [True, True]  # nothing arrived at v_last and v_seq


def test_the_tau_gradient_has_the_same_bits_in_any_order_of_threads(world: World) -> None:
    engine = CupyEngine(StandIn(world))
    expected = forward_and_backward(engine, leaves(6, 1000))
    for world.order in (1, 2, 3, 4):
        got = forward_and_backward(engine, leaves(6, 1000))
        assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_state_on_another_device_is_an_error() -> None:
    x, v, w = leaves(4, 5)
    with pytest.raises(UsageError, match="v is on meta, the input on cpu"):
        CupyEngine().multi_step(PLIF, x, v.to("meta"), w)


def test_it_refuses_other_devices_dtypes_and_surrogates_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CupyEngine().refuses(PLIF, torch.zeros(1)) == "the input is on cpu, the kernels run on cuda"
    monkeypatch.setattr(surrogate, "SURROGATES", dict(surrogate.SURROGATES))  # Own enters itself here

    class Own(surrogate.ATan):
        name = "own"

    engine = CupyEngine(StandIn(World(None)))  # type: ignore[arg-type]
    for function in (surrogate.PoissonPass(), Own()):
        refused = engine.refuses(NeuronSpec("if", function), torch.zeros(1))
        assert refused == f"the kernels have no surrogate {function.name}"
    assert engine.refuses(PLIF, torch.zeros(1)) is None
    assert "torch.float64" in str(engine.refuses(PLIF, torch.zeros(1).double()))


def test_a_whole_network_learns_as_with_the_torch_engine(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["train.backends.cupy"], "ENGINE", CupyEngine(StandIn(world)))
    backends.get.cache_clear()

    def gradients_of(backend: str) -> list[Tensor]:
        torch.manual_seed(0)
        net = nn.Sequential(
            layer.Conv2d(2, 4, 3, padding=1, bias=False),
            layer.BatchNorm2d(4),
            neuron.ParametricLIFNode(surrogate_function=surrogate.ATan(), detach_reset=True),
            layer.MaxPool2d(2),
            layer.Flatten(),
            layer.Linear(64, 10),
            neuron.LIFNode(tau=1.7, v_reset=None, v_threshold=0.1),
        )
        functional.set_step_mode(net, "m")
        functional.set_backend(net, backend)
        for _ in range(2):  # the potential goes on from call to call
            rate = net(torch.randn(6, 3, 2, 8, 8)).mean(0)
        rate.square().sum().backward()
        return [rate.detach(), *(p.grad for p in net.parameters() if p.grad is not None)]

    got, want = gradients_of("cupy"), gradients_of("torch")
    backends.get.cache_clear()  # the next test shall not find the stand-in
    assert len(got) == len(want) == 7  # the rate, convolution, norm (2), PLIF's w, linear (2)
    assert all(t.any() for t in want)
    assert torch.equal(got[0], want[0])
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * float(b.abs().max()))
    assert [name for name, *_ in world.launches].count("backward") == 4


# What keeps it from running: the real cause, in one line.


def test_without_cupy_the_import_error_and_the_extra_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)  # as if it were not installed: import raises ModuleNotFoundError
    monkeypatch.setattr(sys.modules["train.backends.cupy"], "ENGINE", CupyEngine())
    backends.get.cache_clear()
    with pytest.raises(BackendError) as caught:
        neuron.IFNode(step_mode="m", backend="cupy")(torch.zeros(2, 3))
    message = str(caught.value)
    assert caught.value.exit_code == 8
    assert "ImportError: import of cupy halted" in message
    assert "dvsprep[cuda12] or dvsprep[cuda13]" in message
    assert "\n" not in message


def test_without_a_driver_cupys_own_error_is_named() -> None:
    pytest.importorskip("cupy", reason="CuPy has wheels for Linux x86_64 only")
    cause = CupyEngine().why_not()
    if torch.cuda.is_available():
        assert cause is None
    else:
        assert "cudaError" in str(cause)
        assert "dvsprep[cuda12]" in str(cause)


def test_no_device_and_a_torch_without_cuda_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(None, devices=0)  # type: ignore[arg-type]
    assert str(CupyEngine(StandIn(world)).why_not()) == "CuPy finds no CUDA device"
    world.devices = 1
    assert CupyEngine(StandIn(world)).why_not() is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cuda = Cuda()
    cuda.cupy = world.cupy  # type: ignore[misc]
    assert f"torch {torch.__version__} finds no CUDA device" in str(CupyEngine(cuda).why_not())


# The stand-in: each wrong launch is refused, and the right one is not.


class Launch:
    """The pieces of a right launch of ``forward``, to be spoilt one by one."""

    def __init__(self, world: World) -> None:
        self.world, self.cuda = world, StandIn(world)
        x, v, q = torch.zeros(4, 300), torch.zeros(300), torch.tensor(0.5)
        self.args: list[object] = [x, v, q, x.clone(), v.clone(), None, None]
        self.args += [np.float32(1), np.float32(0), np.float32(1), np.int32(4), np.int64(300)]
        self.grid: tuple[object, ...] = (2,)
        self.block: tuple[object, ...] = (256,)
        self.device, self.stream = 0, (0, 0)

    def run(self) -> None:
        pointers = [np.uintp(self.cuda.address(a)) if isinstance(a, Tensor) else a for a in self.args]
        pointers = [np.uintp(0) if a is None else a for a in pointers]
        cuda = self.world.cupy.cuda
        with cuda.Device(self.device), cuda.ExternalStream(self.stream[1], self.stream[0]):
            module = self.world.cupy.RawModule(code=self.code(), options=FORWARD)
            module.get_function("forward")(self.grid, self.block, tuple(pointers))

    @staticmethod
    def code() -> str:
        from train.backends.cupy import source

        return source()


def set_argument(i: int, value: object) -> Callable[[Launch], None]:
    return lambda launch: launch.args.__setitem__(i, value)


WRONG: dict[str, tuple[Callable[[Launch], object], str]] = {
    "a Python float for float": (set_argument(7, 1.0), "declared float32, CuPy would pass float64"),
    "a Python int for int": (set_argument(10, 4), "declared int32, CuPy would pass int64"),
    "an int32 for long long": (set_argument(11, np.int32(300)), "declared int64, CuPy would pass int32"),
    "a float64 array": (set_argument(1, torch.zeros(300, dtype=torch.float64)), "tensor is torch.float64"),
    "a half array": (set_argument(0, torch.zeros(4, 300, dtype=torch.float16)), "tensor is torch.float16"),
    "an array with gaps": (set_argument(0, torch.zeros(4, 600)[:, ::2]), "has gaps"),
    "an address of nothing": (set_argument(1, np.uintp(4096)), "no tensor is at"),
    "a float for a pointer": (set_argument(2, np.float32(0.5)), "declared a pointer"),
    "a missing argument": (lambda launch: launch.args.pop(), "takes 12 arguments, got 11"),
    "one argument too many": (lambda launch: launch.args.append(np.int32(0)), "takes 12 arguments, got 13"),
    "another device": (lambda launch: setattr(launch, "device", 1), "not on torch's current stream"),
    "tensors of another device": (
        lambda launch: (setattr(launch, "device", 1), setattr(launch, "stream", (1, 0))),
        "the tensor is not on device 1",
    ),
    "another stream": (lambda launch: setattr(launch, "stream", (0, 7)), "not on torch's current stream"),
    "an empty grid": (lambda launch: setattr(launch, "grid", (0,)), "grid or block"),
    "a grid of NumPy numbers": (lambda launch: setattr(launch, "grid", (np.int64(2),)), "grid or block"),
    "too large a block": (lambda launch: setattr(launch, "block", (2048,)), "grid or block"),
    "an output that is too small": (set_argument(4, torch.zeros(299)), "outside its arrays"),
    "an input that is too small": (set_argument(0, torch.zeros(4, 299)), "outside its arrays"),
    "more neurons than there are": (set_argument(11, np.int64(301)), "outside its arrays"),
}


@pytest.mark.parametrize("what", WRONG)
def test_the_stand_in_refuses(find, what: str) -> None:
    launch = Launch(World(find, devices=2))
    spoil, message = WRONG[what]
    spoil(launch)
    with pytest.raises(LaunchError, match=message):
        launch.run()


def test_the_stand_in_takes_a_right_launch(find) -> None:
    launch = Launch(World(find, devices=2))
    launch.run()
    assert launch.world.launches == [("forward", 0, 0, FORWARD)]


def test_the_stand_in_passes_no_null_for_none(find) -> None:
    launch = Launch(World(find))
    launch.run()
    kernel = launch.world.find(launch.code(), FORWARD)
    assert [a.direction for a in kernel.arguments].count("out") == 4
    module = launch.world.cupy.RawModule(code=launch.code(), options=FORWARD)
    with (
        launch.world.external_stream(0, 0),
        pytest.raises(LaunchError, match="CuPy passes no null pointer for None"),
    ):
        module.get_function("forward")((1,), (256,), (None,) * 12)
