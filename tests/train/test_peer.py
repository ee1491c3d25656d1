"""Number for number against SpikingJelly 2.0, which runs in its own interpreter.

Set DVSPREP_PEER_PYTHON to a Python that has spikingjelly 2.0 and torch.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from train import layer, neuron, surrogate

PEER = os.environ.get("DVSPREP_PEER_PYTHON")
pytestmark = pytest.mark.skipif(not PEER, reason="DVSPREP_PEER_PYTHON names no interpreter with SpikingJelly 2.0")

NODES = {"if": neuron.IFNode, "lif": neuron.LIFNode, "plif": neuron.ParametricLIFNode}
SURROGATES = {kind.__name__: kind for kind in surrogate.SURROGATES.values() if kind.name != "poisson_pass"}
NO_PRIMITIVE = ("SuperSpike", "FakeNumericalGradient")  # of the peer
SHAPES = [(1, 3, 5), (8, 4, 33), (16, 2, 3, 4, 5)]


def node_cases() -> list[dict[str, Any]]:
    every = []
    taus = {"if": [{}], "lif": [{"tau": 1.7}, {"tau": 2.0}], "plif": [{"init_tau": 2.6}]}
    for what, options in taus.items():
        for option in options:
            for decay in [{}] if what == "if" else [{"decay_input": True}, {"decay_input": False}]:
                for v_reset in (0.0, -0.25, None):
                    rest = {**option, **decay, "v_reset": v_reset}
                    every += [(what, {**rest, "detach_reset": detach}) for detach in (True, False)]
    cases = [
        {"what": w, "options": o, "step_mode": m, "surrogate": s, "params": {}, "input": i}
        for k, (w, o) in enumerate(every)
        for s in ("ATan", "Sigmoid", sorted(SURROGATES)[k % len(SURROGATES)])
        for m in ("s", "m")
        for i in range(len(SHAPES))
    ]
    for name in sorted(SURROGATES):
        for params in ({}, {"spiking": False}):
            if not (params and name in NO_PRIMITIVE):
                options = {"v_threshold": 0.7, "detach_reset": not params}
                cases += [
                    {"what": "lif", "options": options, "step_mode": m, "surrogate": name, "params": params, "input": 1}
                    for m in ("s", "m")
                ]
    return cases


def layer_cases() -> list[dict[str, Any]]:
    cases = [
        {"what": what, "options": options, "step_mode": m, "input": i}
        for what, options, i in (
            ("SynapseFilter", {"tau": 3.0}, 1),
            ("SynapseFilter", {"tau": 3.0, "learnable": True}, 1),
            ("VotingLayer", {"voting_size": 3}, 3),
            ("ElementWiseRecurrentContainer", {}, 1),
            ("LinearRecurrentContainer", {}, 3),
        )
        for m in ("s", "m")
    ]
    return cases + [
        {"what": "NonSpikingLIFNode", "options": {"tau": 3.0, "decode": d}, "step_mode": "m", "input": 1}
        for d in (None, "max-mem", "max-abs-mem", "mean-mem")
    ]


def more_cases() -> list[dict[str, Any]]:
    izhikevich = {"a": 0.3, "b": 0.2, "tau_w": 3.0, "w_rest": 0.1}
    cases = [
        {"what": what, "options": options, "step_mode": m, "input": i}
        for what, options in (
            *(("KLIFNode", {"scale_reset": r, "decay_input": d}) for r in (False, True) for d in (False, True)),
            ("KLIFNode", {"v_reset": None, "detach_reset": True, "tau": 1.7}),
            *(("QIFNode", o) for o in ({}, {"v_reset": None, "a0": 0.5}, {"detach_reset": True, "v_rest": 0.1})),
            *(("EIFNode", o) for o in ({}, {"v_reset": None, "delta_T": 0.5}, {"detach_reset": True})),
            *(("IzhikevichNode", o) for o in ({}, izhikevich, {**izhikevich, "v_reset": None})),
            *(("CUBALIFNode", o) for o in ({}, {"v_reset": None, "c_decay": 0.2}, {"v_decay": 0.4})),
        )
        for m in ("s", "m")
        for i in range(len(SHAPES))
    ]
    return [*cases, {"what": "PSN", "options": {"T": 8}, "step_mode": "m", "input": 1}]


def ours(case: dict[str, Any]) -> torch.nn.Module:
    options, mode = case["options"], {"step_mode": case["step_mode"]}
    if case["what"] in NODES:
        function = SURROGATES[case["surrogate"]](**case["params"])
        return NODES[case["what"]](surrogate_function=function, **mode, **options)
    if case["what"] == "ElementWiseRecurrentContainer":
        return layer.ElementWiseRecurrentContainer(neuron.IFNode(), torch.add, **mode)
    if case["what"] == "LinearRecurrentContainer":
        net = layer.LinearRecurrentContainer(neuron.LIFNode(), 6, 6, **mode)
        with torch.no_grad():
            net.rc.weight.copy_(torch.linspace(-1, 1.5, net.rc.weight.numel()).sin().view_as(net.rc.weight))
            net.rc.bias.fill_(0.25)
        return net
    if case["what"] == "PSN":
        psn = neuron.PSN(**options)
        with torch.no_grad():
            psn.weight.copy_(torch.linspace(-1, 1.5, psn.weight.numel()).sin().view_as(psn.weight))
            psn.bias.fill_(-0.3)
        return psn
    kind = getattr(neuron, case["what"], None) or getattr(layer, case["what"])
    return kind(**mode, **options)


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Any, Any]:
    folder = tmp_path_factory.mktemp("peer")
    g = torch.Generator().manual_seed(0)
    inputs = {}
    for i, shape in enumerate([*SHAPES, (8, 4, 6)]):
        inputs[f"x{i}"] = (torch.randn(shape, generator=g) + 0.4).numpy()
        inputs[f"g{i}"] = torch.randn(shape, generator=g).numpy()
    inputs["g3"] = np.ones_like(inputs["g3"])[..., :1]
    cases = node_cases() + layer_cases() + more_cases()
    np.savez(folder / "in.npz", cases=json.dumps(cases), **inputs)
    child = Path(__file__).with_name("peer_child.py")
    command = [str(PEER), str(child), str(folder / "in.npz"), str(folder / "out.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return cases, inputs, np.load(folder / "out.npz")


def run(case: dict[str, Any], inputs: Any) -> tuple[torch.nn.Module, torch.Tensor, list[torch.Tensor]]:
    net = ours(case)
    x = torch.from_numpy(inputs[f"x{case['input']}"]).clone().requires_grad_()
    weight = torch.from_numpy(inputs[f"g{case['input']}"])
    y = net(x) if case["step_mode"] == "m" else torch.stack([net(step) for step in x])
    loss = (y * (weight if y.dim() == x.dim() else weight[0])).sum()
    return net, y.detach(), list(torch.autograd.grad(loss, [x, *net.parameters()]))


def difference(got: torch.Tensor, expected: np.ndarray) -> float:
    """Return the largest difference, relative to the largest value or 1."""
    assert got.shape == expected.shape
    return float(np.abs(got.detach().numpy() - expected).max()) / max(1.0, float(np.abs(expected).max()))


def test_spikes_are_equal_and_gradients_within_a_millionth(peer) -> None:
    cases, inputs, theirs = peer
    worst_value, worst_gradient, wrong = 0.0, 0.0, []
    for i, case in enumerate(cases):
        net, y, grads = run(case, inputs)
        smooth = not case.get("params", {}).get("spiking", True)
        fires = isinstance(net, neuron.FiringNode | neuron.PSN) and not smooth
        equal = not fires or torch.equal(y, torch.from_numpy(theirs[f"y{i}"]))
        value = difference(y, theirs[f"y{i}"])
        if isinstance(net, neuron.FiringNode):
            value = max(value, difference(net.v, theirs[f"v{i}"]))
        gradient = max(difference(grad, theirs[f"grad{k}_{i}"]) for k, grad in enumerate(grads))
        # The peer adds 1e-5 inside S2NN's logarithm, so that its primitive is not that of its derivative.
        tolerance = 2e-5 if smooth and case["surrogate"] == "S2NN" else 1e-6
        if not equal or value > tolerance or gradient > tolerance:
            wrong.append((case, equal, value, gradient))
        elif tolerance == 1e-6:
            worst_value, worst_gradient = max(worst_value, value), max(worst_gradient, gradient)
    print(f"{len(cases)} cases, largest difference of a value {worst_value:.2g}, of a gradient {worst_gradient:.2g}")
    assert not wrong, f"{len(wrong)} of {len(cases)} cases differ: {wrong[:3]}"
