"""Runs in the interpreter of SpikingJelly 2.0: cases and inputs in, its spikes, potentials and gradients out.

Imports nothing of this project: the peer has an environment of its own.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate

NODES = {"if": neuron.IFNode, "lif": neuron.LIFNode, "plif": neuron.ParametricLIFNode}

MORE = ("KLIFNode", "QIFNode", "EIFNode", "IzhikevichNode", "CUBALIFNode")


def build(case: dict) -> torch.nn.Module:
    options = dict(case["options"])
    if case["what"] == "PSN":
        net = neuron.PSN(**options)
        with torch.no_grad():
            net.weight.copy_(torch.linspace(-1, 1.5, net.weight.numel()).sin().view_as(net.weight))
            net.bias.fill_(-0.3)
        return net
    if case["what"] in MORE:
        net = getattr(neuron, case["what"])(**options)
        net.step_mode = case["step_mode"]
        return net
    if case["what"] in NODES:
        function = getattr(surrogate, case["surrogate"])(**case["params"])
        return NODES[case["what"]](surrogate_function=function, step_mode=case["step_mode"], **options)
    if case["what"] == "ElementWiseRecurrentContainer":
        net = layer.ElementWiseRecurrentContainer(neuron.IFNode(), torch.add, step_mode=case["step_mode"])
    elif case["what"] == "NonSpikingLIFNode":
        return neuron.NonSpikingLIFNode(**options)
    elif case["what"] == "LinearRecurrentContainer":
        net = layer.LinearRecurrentContainer(neuron.LIFNode(), 6, 6, step_mode=case["step_mode"])
        with torch.no_grad():
            net.rc.weight.copy_(torch.linspace(-1, 1.5, net.rc.weight.numel()).sin().view_as(net.rc.weight))
            net.rc.bias.fill_(0.25)
    else:
        net = getattr(layer, case["what"])(step_mode=case["step_mode"], **options)
    return net


def main(source: str, target: str) -> None:
    data, out = np.load(source), {}
    for i, case in enumerate(json.loads(str(data["cases"]))):
        net = build(case)
        x = torch.from_numpy(data[f"x{case['input']}"]).requires_grad_()
        weight = torch.from_numpy(data[f"g{case['input']}"])
        multi = case["step_mode"] == "m" or isinstance(net, neuron.NonSpikingLIFNode)
        y = net(x) if multi else torch.stack([net(step) for step in x])
        if isinstance(y, list):
            y = torch.stack(y)
        parameters = [x, *net.parameters()]
        grads = torch.autograd.grad(
            (y * weight[: y.shape[0]] if y.dim() == x.dim() else y * weight[0]).sum(), parameters
        )
        out[f"y{i}"] = y.detach().numpy()
        if case["what"] in (*NODES, *MORE):
            out[f"v{i}"] = net.v.detach().numpy()
        for k, grad in enumerate(grads):
            out[f"grad{k}_{i}"] = grad.numpy()
        functional.reset_net(net)
    np.savez(target, **out)


if __name__ == "__main__":
    main(*sys.argv[1:])
