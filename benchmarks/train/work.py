"""What is timed, written once for both sides: their blocks have the same names."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, one_hot

from benchmarks.child import Laps, Request

NEURONS = {"lif deep": (16, 16, 128, 32, 32), "lif wide": (4, 32, 128, 28, 28)}
COLUMNS = 28  # of a Fashion-MNIST image, one a step


class Library(NamedTuple):
    """A side: its modules, its DVSGestureNet, and what it does to a network and to the process before training."""

    layer: ModuleType
    neuron: ModuleType
    surrogate: ModuleType
    functional: ModuleType
    gesture_net: Callable[[int], nn.Module]
    prepared: Callable[[nn.Module], nn.Module]
    fused_optimizer: bool | None = None  # torch's steps as one kernel; None: as torch chooses


Step = Callable[[], dict[str, float]]


def run(library: Library, request: Request, laps: Laps) -> None:
    """Warm up, then time ``steps`` steps; tell their seconds, what the first one computed, and memory above the start.

    Request: task, steps, amp (bfloat16), kept (freed memory is kept), sizes ("full" or "quick").
    """
    if request["kept"]:
        from train import memory  # needs torch only: the peer's own Python imports it too

        memory.keep_freed_memory()
    torch.set_num_threads(request["cores"])
    torch.manual_seed(0)
    step = WORK[request["task"]](library, request)
    before = _reset_peak()
    laps.facts["first"] = step()
    for _ in range(request["warm"]):
        step()
    seconds = []
    for _ in range(request["steps"]):
        begin = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begin)
    laps.facts["seconds"], laps.facts["memory"] = seconds, _status("VmHWM") - before


def neuron_layer(library: Library, request: Request) -> Step:
    """Return a step of one layer of LIF neurons, forwards and backwards, on what a convolution might give."""
    shape = NEURONS[request["task"]]
    if request["sizes"] == "quick":
        shape = (*shape[:2], 8, 8, 8)
    node = library.neuron.LIFNode(
        tau=2.0, detach_reset=True, surrogate_function=library.surrogate.ATan(), step_mode="m"
    )
    library.prepared(node)
    x = (torch.randn(shape) * 1.2 + 0.3).requires_grad_()
    upstream = torch.randn(shape)

    def step() -> dict[str, float]:
        x.grad = None
        spikes = node(x)
        spikes.backward(upstream)
        library.functional.reset_net(node)
        if not first:
            first.update(spikes=float(spikes.detach().sum()), gradient=float(x.grad.abs().double().sum()))
        return first

    first: dict[str, float] = {}
    return step


def training(library: Library, request: Request, net: nn.Module, x: Tensor, classes: int, optimizer: Any) -> Step:
    """Return a step of training: forwards, MSE of the firing rates, backwards, the optimiser's step, reset."""
    library.functional.set_step_mode(net, "m")
    net = library.prepared(net)
    optimiser = optimizer(net.parameters(), library.fused_optimizer)
    target = one_hot(torch.randint(0, classes, (x.shape[1],)), classes).float()

    def step() -> dict[str, float]:
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=request["amp"]):
            rates = net(x).float().mean(0)
        loss = mse_loss(rates, target)
        loss.backward()
        optimiser.step()
        library.functional.reset_net(net)
        return {"loss": loss.item()}

    return step


def gesture(library: Library, request: Request) -> Step:
    """Return a step of DVSGestureNet, c = 32, T = 16, 4 samples of 128 x 128, Adam."""
    quick = request["sizes"] == "quick"
    T, N, channels = (2, 1, 4) if quick else (16, 4, 32)
    x = torch.randint(0, 3, (T, N, 2, 128, 128)).float()
    return training(library, request, library.gesture_net(channels), x, 11, adam)


def csnn(library: Library, request: Request) -> Step:
    """Return a step of the tutorial's network for Fashion-MNIST: T = 4, 64 channels, 64 images, SGD."""
    quick = request["sizes"] == "quick"
    T, N, c = (4, 2, 4) if quick else (4, 64, 64)
    layer, modules, inputs = library.layer, [], 1
    for _ in range(2):
        modules += [layer.Conv2d(inputs, c, 3, padding=1, bias=False), layer.BatchNorm2d(c), integrate(library)]
        modules.append(layer.MaxPool2d(2, 2))
        inputs = c
    modules += [layer.Flatten(), layer.Linear(c * 49, c * 16, bias=False), integrate(library)]
    modules += [layer.Linear(c * 16, 10, bias=False), integrate(library)]
    x = torch.rand(N, 1, 28, 28).expand(T, N, 1, 28, 28)
    return training(library, request, nn.Sequential(*modules), x, 10, momentum)


def sequential(library: Library, request: Request) -> Step:
    """Return a step of the tutorial's recurrent networks: the columns of an image are the steps; 128 images, SGD."""
    layer, kind = library.layer, request["task"]
    first: list[nn.Module] = [layer.Linear(COLUMNS, 32)]
    if kind == "feedback":
        node = integrate(library, detach_reset=True)
        first.append(layer.LinearRecurrentContainer(node, in_features=32, out_features=32, bias=True))
    else:
        first.append(integrate(library))
    if kind == "synapse":
        first.append(layer.SynapseFilter(tau=2.0, learnable=True))
    net = nn.Sequential(*first, layer.Linear(32, 10), integrate(library))
    x = torch.rand(COLUMNS, 8 if request["sizes"] == "quick" else 128, COLUMNS)
    return training(library, request, net, x, 10, momentum)


def integrate(library: Library, **options: Any) -> nn.Module:
    return library.neuron.IFNode(surrogate_function=library.surrogate.ATan(), **options)


def momentum(parameters: Any, fused: bool | None) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, fused=fused)


def adam(parameters: Any, fused: bool | None) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=1e-3, fused=fused)


WORK: dict[str, Callable[[Library, Request], Step]] = {
    **dict.fromkeys(NEURONS, neuron_layer),
    "gesture": gesture,
    "csnn": csnn,
    **dict.fromkeys(("plain", "synapse", "feedback"), sequential),
}


def _status(name: str) -> int:
    """Return a figure of /proc/self/status in bytes; 0 where there is none."""
    try:
        return int(re.findall(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) * 1024
    except (OSError, IndexError):
        return 0


def _reset_peak() -> int:
    """Start the high-water mark anew; return what is resident now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return _status("VmHWM")
    return _status("VmRSS")
