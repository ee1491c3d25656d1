"""A graph of NIR in, a network of our neurons and layers out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dvsprep.errors import FormatError, NotFoundError, UsageError
from train import layer, neuron
from train.base import StepModule
from train.functional import set_step_mode
from train.nir_write import DT, nir


class Graph(nn.Module):
    """A network as its nodes and edges: a node's input is the sum of what leads to it. [T, N, *] in, [T, N, *] out."""

    def __init__(self, nodes: Mapping[str, nn.Module], sources: Mapping[str, list[str]]) -> None:
        super().__init__()
        self.nodes = nn.ModuleDict(nodes)
        self.sources = dict(sources)  # in the order of running
        set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Tensor:
        """Return what reaches the output."""
        values = {"": x}
        for name, sources in self.sources.items():
            summed = values[sources[0]]
            for source in sources[1:]:
                summed = summed + values[source]
            values[name] = self.nodes[name](summed)
        return values[name]


class Threshold(StepModule):
    """1 where the input is above a threshold, else 0."""

    threshold: Tensor

    def __init__(self, threshold: Tensor) -> None:
        super().__init__()
        self.register_buffer("threshold", threshold)

    def forward(self, x: Tensor) -> Tensor:
        return (x > self.threshold).to(x.dtype)


def load(path: str | PathLike[str]) -> Graph:
    """Read a graph of NIR as a network of our neurons, multi-step.

    Raises
    ------
    NotFoundError, FormatError
        If the file is not there, or none of NIR.
    UsageError
        If it holds what we have no neuron or layer for; one line that names the node.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file")
    try:
        graph = nir().read(path)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise FormatError(f"{path}: no graph of NIR: {error}") from None
    return from_nir(graph)


def from_nir(graph: Any) -> Graph:
    """Return the network of a graph of NIR; see :func:`load`."""
    sources: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        sources[target].append(source)
    inputs, outputs = ([n for n, node in graph.nodes.items() if type(node).__name__ == k] for k in ("Input", "Output"))
    if len(inputs) != 1 or len(outputs) != 1:
        raise UsageError(f"NIR graph with {len(inputs)} inputs and {len(outputs)} outputs, expected one each")
    sources[inputs[0]] = [""]
    order: list[str] = [""]
    waiting = dict(sources)
    while waiting:
        ready = [name for name, needs in waiting.items() if all(need in order for need in needs)]
        if not ready:
            raise UsageError(f"NIR graph with a cycle or a loose end at {min(waiting)}: no feed-forward network")
        for name in ready:
            order.append(name)
            del waiting[name]
    order.remove(outputs[0])
    order.append(outputs[0])
    modules = {name: _module(name, graph.nodes[name]) for name in order[1:]}
    names = {"": "", **{name: name.replace(".", "_") for name in order[1:]}}
    return Graph(
        {names[name]: module for name, module in modules.items()},
        {names[name]: [names[source] for source in sources[name]] for name in order[1:]},
    )


def _module(name: str, node: Any) -> nn.Module:
    kind = type(node).__name__
    if kind not in _READERS:
        raise UsageError(f"NIR node {name} is a {kind}, which has no counterpart here")
    return _READERS[kind](name, node)


def _one(name: str, what: str, values: Any) -> float:
    found = np.unique(values)
    if len(found) != 1:
        raise UsageError(f"NIR node {name}: {len(found)} different values of {what}, expected one for all neurons")
    return float(found[0])


def _neuron(name: str, node: Any) -> nn.Module:
    # NIR fires above the threshold, we also at it: at the next number above.
    threshold = float(np.nextafter(np.float32(_one(name, "v_threshold", node.v_threshold)), np.float32(np.inf)))
    v_reset = 0.0 if node.v_reset is None else _one(name, "v_reset", node.v_reset)
    r = _one(name, "r", node.r)
    if type(node).__name__ == "IF":
        if r != 1:
            raise UsageError(f"NIR node {name}: an IF with r = {r:g}, expected 1")
        return neuron.IFNode(v_threshold=threshold, v_reset=v_reset)
    tau, leak = _one(name, "tau", node.tau) / DT, _one(name, "v_leak", node.v_leak)
    if leak != v_reset:
        raise UsageError(f"NIR node {name}: v_leak {leak:g} and v_reset {v_reset:g} differ, which no neuron here does")
    decays = abs(r - 1) < 1e-5
    if not decays and abs(r - tau) > 1e-5 * tau:
        raise UsageError(f"NIR node {name}: r = {r:g}, expected 1 or tau / dt = {tau:g}")
    tau = round(tau, 5) if abs(round(tau, 5) - tau) < 1e-6 * tau else tau  # tau is stored as float32, in seconds
    return neuron.LIFNode(tau, decay_input=decays, v_threshold=threshold, v_reset=v_reset)


def _conv(name: str, node: Any) -> nn.Module:  # noqa: ARG001
    outputs, inputs, *kernel = node.weight.shape
    padding = node.padding if isinstance(node.padding, str) else tuple(int(n) for n in np.broadcast_to(node.padding, 2))
    stride, dilation = (tuple(int(n) for n in np.broadcast_to(value, 2)) for value in (node.stride, node.dilation))
    conv = layer.Conv2d(inputs * node.groups, outputs, kernel, stride, padding, dilation, node.groups)
    return _with(conv, node.weight, node.bias)


def _linear(name: str, node: Any) -> nn.Module:  # noqa: ARG001
    bias = getattr(node, "bias", None)
    return _with(layer.Linear(node.weight.shape[1], node.weight.shape[0], bias=bias is not None), node.weight, bias)


def _with(module: nn.Conv2d | nn.Linear, weight: Any, bias: Any) -> nn.Module:
    module.weight.data = torch.as_tensor(weight, dtype=torch.float32)
    if bias is not None:
        assert module.bias is not None
        module.bias.data = torch.as_tensor(bias, dtype=torch.float32)
    return module


def _pool(divisor: int | None) -> Callable[[str, Any], nn.Module]:
    def make(name: str, node: Any) -> nn.Module:  # noqa: ARG001
        sizes = [tuple(int(n) for n in np.broadcast_to(v, 2)) for v in (node.kernel_size, node.stride, node.padding)]
        return layer.AvgPool2d(*sizes, divisor_override=divisor)

    return make


def _flatten(name: str, node: Any) -> nn.Module:
    shape = np.atleast_1d(node.input_type["input"])
    if node.start_dim not in (0, -len(shape)) or node.end_dim not in (-1, len(shape) - 1):
        raise UsageError(f"NIR node {name}: flattens dimensions {node.start_dim} to {node.end_dim}, expected all")
    return layer.Flatten()


_READERS: dict[str, Callable[[str, Any], nn.Module]] = {
    "Input": lambda *_: nn.Identity(),
    "Output": lambda *_: nn.Identity(),
    "IF": _neuron,
    "LIF": _neuron,
    "Conv2d": _conv,
    "Linear": _linear,
    "Affine": _linear,
    "SumPool2d": _pool(1),
    "AvgPool2d": _pool(None),
    "Flatten": _flatten,
    "Threshold": lambda _, node: Threshold(torch.as_tensor(node.threshold, dtype=torch.float32)),
}
