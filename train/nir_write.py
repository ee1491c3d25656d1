"""A spiking network in, a graph of NIR out (Pedersen et al. 2024, neuroir.org): what other simulators and chips read.

NIR knows IF and LIF with a hard reset, in continuous time. Steps of ``DT`` seconds, as other simulators take them, make
its equations ours; see docs/training.md for what it cannot say.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from dvsprep.errors import BackendError, UsageError
from train import functional, layer, neuron
from train.base import StepModule

DT = 1e-4  # seconds a step: what snnTorch, Norse and others take unless told
Shape = tuple[int, ...]


def nir() -> Any:
    """Import nir; raise BackendError where it is not installed."""
    try:
        import nir as package
    except ImportError as error:
        raise BackendError(f"nir cannot be used: {error}", hint="pip install 'dvsprep[export]'") from None
    return package


def to_nir(net: nn.Module, shape: Shape) -> Any:
    """Return the graph of a network; its BatchNorms become part of the convolutions before them.

    Parameters
    ----------
    shape : tuple of int
        Of the input at one step, without the batch: (C, H, W).

    Raises
    ------
    UsageError
        Where the network holds what NIR cannot express; one line that names the module.
    """
    training = net.training
    net.eval()
    functional.reset_net(net)
    try:
        return _Writer(net, shape).graph()
    finally:
        functional.reset_net(net)
        net.train(training)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        containers = (nn.Sequential, layer.MultiStepContainer, layer.SeqToANNContainer)
        return isinstance(m, StepModule) and not isinstance(m, containers)


class _Shapes(fx.Interpreter):
    """Runs the network once, on zeros, to learn the shape after every module."""

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        n.meta["shape"] = tuple(value.shape[2:]) if isinstance(value, Tensor) else ()
        return value


class _Writer:
    def __init__(self, net: nn.Module, shape: Shape) -> None:
        self.net, self.shape, self.nir = net, shape, nir()
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self.made: dict[fx.Node, list[str]] = {}  # the names whose sum a value is
        self.spikes: set[fx.Node] = set()
        self.folded: dict[fx.Node, nn.Module] = {}

    def graph(self) -> Any:
        try:
            traced = fx.GraphModule(self.net, _Tracer().trace(self.net))
        except (fx.proxy.TraceError, TypeError) as error:
            raise UsageError(
                f"{type(self.net).__name__} cannot be exported: its forward is no plain graph: {error}"
            ) from None
        parameter = next(self.net.parameters(), torch.empty(0))
        with torch.no_grad():
            _Shapes(traced).run(torch.zeros(1, 1, *self.shape, device=parameter.device, dtype=parameter.dtype))
        for node in traced.graph.nodes:
            self._node(node)
        return self.nir.NIRGraph(self.nodes, self.edges)

    def _add(self, name: str, made: Any, inputs: list[str]) -> list[str]:
        name = name.replace(".", "_")
        self.nodes[name] = made
        self.edges += [(source, name) for source in inputs]
        return [name]

    def _node(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            self.made[node] = self._add("input", self.nir.Input({"input": np.array(self.shape)}), [])
        elif node.op == "output":
            (last,) = node.all_input_nodes
            self._add("output", self.nir.Output({"output": np.array(last.meta["shape"])}), self.made[last])
        elif node.op == "call_module":
            self._module(node, self.net.get_submodule(str(node.target)))
        elif node.target in (operator.add, torch.add) and len(node.all_input_nodes) == 2:
            self.made[node] = [name for source in node.all_input_nodes for name in self.made[source]]
        elif node.op == "call_method" and node.target == "flatten":
            (source,) = node.all_input_nodes
            self.made[node] = self._flatten(node, source)
        else:
            raise UsageError(f"NIR cannot express {getattr(node.target, '__name__', node.target)} in {self._who()}")

    def _who(self) -> str:
        return type(self.net).__name__

    def _module(self, node: fx.Node, module: nn.Module) -> None:
        (source,) = node.all_input_nodes
        inputs = self.made[source]
        if isinstance(module, (layer.Dropout, layer.Dropout2d, nn.Dropout, nn.Identity)):
            self.made[node] = inputs
            self.spikes |= {node} if source in self.spikes else set()
        elif isinstance(module, nn.BatchNorm2d):
            self._fold(node, source, module)
        elif isinstance(module, layer.MaxPool2d):
            self._max_pool(node, source, module)
        elif isinstance(module, layer.Flatten):
            self.made[node] = self._flatten(node, source)
            self.spikes |= {node} if source in self.spikes else set()
        else:
            for kind, write in _WRITERS.items():
                if type(module) is kind:
                    made = write(self, str(node.target), module, source.meta["shape"])
                    self.made[node] = self._add(str(node.target), made, inputs)
                    break
            else:
                raise UsageError(f"NIR cannot express {node.target}: {type(module).__name__}")
            if isinstance(module, neuron.BaseNode):
                self.spikes.add(node)

    def _flatten(self, node: fx.Node, source: fx.Node) -> list[str]:
        if node.meta["shape"] != (int(np.prod(source.meta["shape"])),):
            raise UsageError(f"NIR: {node.target} does not flatten a whole sample")
        made = self.nir.Flatten({"input": np.array(source.meta["shape"])}, 0, -1)
        return self._add(f"{node.target if node.op == 'call_module' else node.name}", made, self.made[source])

    def _fold(self, node: fx.Node, source: fx.Node, norm: nn.BatchNorm2d) -> None:
        """Make BatchNorm a part of the convolution before it."""
        made = self.nodes.get(self.made[source][0])
        if len(self.made[source]) != 1 or not isinstance(made, self.nir.Conv2d) or len(source.users) != 1:
            raise UsageError(f"NIR cannot express {node.target}: a BatchNorm2d that follows no convolution")
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        shift = -norm.running_mean.double() * scale
        if norm.affine:
            scale, shift = scale * norm.weight.double(), shift * norm.weight.double() + norm.bias.double()
        gain = scale.cpu().detach().numpy()
        made.weight = (made.weight.astype(np.float64) * gain[:, None, None, None]).astype(np.float32)
        made.bias = (made.bias.astype(np.float64) * gain + shift.cpu().detach().numpy()).astype(np.float32)
        self.made[node] = self.made[source]

    def _max_pool(self, node: fx.Node, source: fx.Node, pool: nn.MaxPool2d) -> None:
        """Of spikes, the largest is 1 where their sum is not 0; NIR has no MaxPool."""
        if source not in self.spikes or pool.ceil_mode or _pair(pool.dilation) != (1, 1):
            raise UsageError(f"NIR cannot express {node.target}: a MaxPool2d of anything but plain windows of spikes")
        sizes = (np.array(_pair(n)) for n in (pool.kernel_size, pool.stride, pool.padding))
        summed = self._add(f"{node.target}_sum", self.nir.SumPool2d(*sizes), self.made[source])
        threshold = self.nir.Threshold(np.full(node.meta["shape"], 0.5, np.float32))
        self.made[node] = self._add(str(node.target), threshold, summed)
        self.spikes.add(node)


def _pair(n: Any) -> tuple[int, int]:
    return (int(n), int(n)) if isinstance(n, int) else (int(n[0]), int(n[1]))


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().cpu().float().numpy()


def _conv(writer: _Writer, name: str, conv: nn.Conv2d, shape: Shape) -> Any:
    if conv.padding_mode != "zeros":
        raise UsageError(f"NIR cannot express {name}: padding mode {conv.padding_mode}")
    bias = np.zeros(conv.out_channels, np.float32) if conv.bias is None else _array(conv.bias)
    padding = conv.padding if isinstance(conv.padding, str) else _pair(conv.padding)
    return writer.nir.Conv2d(
        shape[-2:], _array(conv.weight), _pair(conv.stride), padding, _pair(conv.dilation), conv.groups, bias
    )


def _linear(writer: _Writer, name: str, linear: nn.Linear, shape: Shape) -> Any:  # noqa: ARG001
    bias: Tensor | None = linear.bias
    if bias is None:
        return writer.nir.Linear(_array(linear.weight))
    return writer.nir.Affine(_array(linear.weight), _array(bias))


def _vote(writer: _Writer, name: str, vote: layer.VotingLayer, shape: Shape) -> Any:  # noqa: ARG001
    classes = shape[-1] // vote.voting_size
    return writer.nir.Linear(
        np.kron(np.eye(classes), np.full(vote.voting_size, 1 / vote.voting_size)).astype(np.float32)
    )


def _avg_pool(writer: _Writer, name: str, pool: nn.AvgPool2d, shape: Shape) -> Any:  # noqa: ARG001
    if pool.ceil_mode or not pool.count_include_pad or pool.divisor_override is not None:
        raise UsageError(f"NIR cannot express {name}: an AvgPool2d with options")
    return writer.nir.AvgPool2d(*(np.array(_pair(n)) for n in (pool.kernel_size, pool.stride, pool.padding)))


def _adaptive_pool(writer: _Writer, name: str, pool: Any, shape: Shape) -> Any:
    if pool.output_size not in (1, (1, 1)):
        raise UsageError(f"NIR cannot express {name}: an AdaptiveAvgPool2d to more than one pixel")
    whole = np.array(shape[-2:])
    return writer.nir.AvgPool2d(whole, whole, np.zeros(2, int))


def _node(writer: _Writer, name: str, node: neuron.BaseNode, shape: Shape) -> Any:
    if node.v_reset is None:
        raise UsageError(f"NIR cannot express {name}: a soft reset (v_reset=None); it resets to a potential only")
    threshold = np.nextafter(np.float32(node.v_threshold), np.float32(-np.inf))  # NIR fires above it, we at it too
    full = [np.full(shape, value, np.float32) for value in (threshold, node.v_reset)]
    if isinstance(node, neuron.IFNode):
        return writer.nir.IF(np.ones(shape, np.float32), *full)
    assert isinstance(node, (neuron.LIFNode, neuron.ParametricLIFNode))
    tau, r = node.tau, 1.0 if node.decay_input else node.tau
    of_time = [np.full(shape, value, np.float32) for value in (tau * DT, r, node.v_reset)]
    return writer.nir.LIF(*of_time, *full)


_WRITERS: dict[type[nn.Module], Callable[[_Writer, str, Any, Shape], Any]] = {
    layer.Conv2d: _conv,
    layer.Linear: _linear,
    layer.VotingLayer: _vote,
    layer.AvgPool2d: _avg_pool,
    layer.AdaptiveAvgPool2d: _adaptive_pool,
    neuron.IFNode: _node,
    neuron.LIFNode: _node,
    neuron.ParametricLIFNode: _node,
}
