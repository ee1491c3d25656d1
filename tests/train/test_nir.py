"""Networks as graphs of NIR: what comes back spikes the same, here and in another simulator; the rest is refused."""

from __future__ import annotations

import itertools
import json
import warnings

import nir
import numpy as np
import pytest
import torch
from sources import TinyTrainer
from torch import nn

from dvsprep.errors import FormatError, NotFoundError, UsageError
from train import checkpoint, export, functional, layer, models, neuron
from train.nir_read import from_nir
from train.nir_write import DT, to_nir


def chain(*modules: nn.Module) -> nn.Sequential:
    net = nn.Sequential(*modules)
    functional.set_step_mode(net, "m")
    return net


def lively(net: nn.Module) -> nn.Module:
    """Have its neurons fire now and then."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(1, 2)
            module.bias.data.uniform_(0, 1)
            module.momentum = 1.0
        elif isinstance(module, nn.Linear):
            module.weight.data.uniform_(-1, 2).mul_(8 / module.in_features)
    return net


def spikes(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    functional.reset_net(net)
    with torch.no_grad():
        return net.eval()(x)


def there_and_back(net: nn.Module, shape: tuple[int, ...], path) -> nn.Module:
    nir.write(path, to_nir(net, shape))
    return export.load(path)


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("dvs_gesture_net", {"sensor": (32, 32)}, (2, 32, 32)),
        ("csnn", {}, (1, 28, 28)),
        ("spiking_resnet18", {"classes": 5}, (3, 32, 32)),
        ("sew_resnet50", {"classes": 5}, (3, 32, 32)),
    ],
)
def test_published_networks_come_back_the_same(name, options, shape, tmp_path):
    net = lively(models.build(name, channels=4, **options))
    net(torch.rand(2, 4, *shape) * 2)  # BatchNorm learns what it sees
    x = torch.rand(6, 3, *shape) * 2
    back = there_and_back(net, shape, tmp_path / "model.nir")
    wanted = spikes(net, x)
    assert wanted.abs().mean() > 0.02
    # Folding BatchNorm into the convolution rounds otherwise: a potential within that of the threshold may cross it.
    assert ((spikes(back, x) - wanted).abs() > 1e-4).float().mean() < 0.02


NODES = {
    "if": neuron.IFNode(),
    "if, other potentials": neuron.IFNode(v_threshold=1.7, v_reset=-0.3),
    "lif": neuron.LIFNode(tau=2.0),
    "lif, input whole": neuron.LIFNode(tau=3.3, decay_input=False),
    "lif, other reset": neuron.LIFNode(tau=5.0, v_reset=0.2, v_threshold=0.7),
    "plif": neuron.ParametricLIFNode(init_tau=2.5),
}


@pytest.mark.parametrize("name", NODES)
def test_neurons_come_back_the_same(name, tmp_path):
    net = lively(chain(layer.Linear(6, 20), NODES[name], layer.Linear(20, 5, bias=False), neuron.LIFNode()))
    back = there_and_back(net, (6,), tmp_path / "model.nir")
    x = torch.rand(30, 7, 6) * 6
    wanted = spikes(net, x)
    assert 0.02 < wanted.mean() < 0.98
    assert torch.equal(spikes(back, x), wanted)
    (first, second) = (m for m in back.modules() if isinstance(m, neuron.BaseNode))
    assert first.v_threshold == np.float32(NODES[name].v_threshold)
    assert (first.v_reset, second.tau) == (np.float32(NODES[name].v_reset), 2.0)
    assert getattr(first, "decay_input", None) == getattr(NODES[name], "decay_input", None)


def test_a_potential_equal_to_the_threshold_fires_on_both_sides():
    graph = to_nir(chain(neuron.IFNode()), (1,))
    (node,) = (n for n in graph.nodes.values() if isinstance(n, nir.IF))
    assert np.float32(1.0) > node.v_threshold[0], "NIR fires above its threshold"
    assert node.v_threshold[0] == np.nextafter(np.float32(1), np.float32(0))
    x = torch.tensor([1.0, 0.5, 0.5, 0.25]).view(4, 1, 1)
    assert spikes(from_nir(graph), x).flatten().tolist() == [1, 0, 1, 0]


def test_the_equations_are_those_of_nir():
    """Euler's steps of DT seconds through NIR's own text give our potentials."""
    node = neuron.LIFNode(tau=4.0, decay_input=False, store_v_seq=True)
    net = chain(node)
    (lif,) = (n for n in to_nir(net, (3,)).nodes.values() if isinstance(n, nir.LIF))
    torch.manual_seed(0)
    x = torch.rand(25, 1, 3)
    wanted, v = spikes(net, x).numpy(), np.zeros(3)
    for t in range(25):
        v = v + DT / lif.tau * (lif.v_leak - v + lif.r * x[t, 0].numpy())
        fired = v > lif.v_threshold
        v = np.where(fired, lif.v_reset, v)
        assert fired.tolist() == wanted[t, 0].astype(bool).tolist()
    assert wanted.sum() > 3


def test_max_pool_of_spikes_is_a_sum_and_a_threshold():
    net = chain(neuron.IFNode(), layer.MaxPool2d(3, stride=2, padding=1))
    kinds = {type(n).__name__ for n in to_nir(net, (2, 9, 9)).nodes.values()}
    assert kinds == {"Input", "IF", "SumPool2d", "Threshold", "Output"}
    x = torch.rand(4, 2, 2, 9, 9) * 1.2
    assert torch.equal(spikes(from_nir(to_nir(net, (2, 9, 9))), x), spikes(net, x))


class Multiplies(nn.Module):
    def __init__(self):
        super().__init__()
        self.node = neuron.IFNode(step_mode="m")
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.node(x) * x


class Branches(Multiplies):
    def forward(self, x):
        return x if x.sum() > 0 else self.node(x)


CONV = layer.Conv2d(2, 2, 3)


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (chain(layer.Linear(2, 2), neuron.IFNode(v_reset=None)), "NIR cannot express 1: a soft reset"),
        (chain(layer.Linear(2, 2), neuron.KLIFNode()), "NIR cannot express 1: KLIFNode"),
        (chain(layer.Linear(2, 2), neuron.NonSpikingLIFNode()), "NIR cannot express 1: NonSpikingLIFNode"),
        (chain(layer.Linear(2, 2), layer.SynapseFilter()), "NIR cannot express 1: SynapseFilter"),
        (chain(CONV, layer.MaxPool2d(2)), "NIR cannot express 1: a MaxPool2d of anything but plain windows of spikes"),
        (chain(CONV, neuron.IFNode(), layer.BatchNorm2d(2)), "NIR cannot express 2: a BatchNorm2d that follows no"),
        (models.build("sew_resnet18", channels=2, connect="AND"), "NIR cannot express mul in SEWResNet18"),
        (Multiplies(), "NIR cannot express mul in Multiplies"),
        (Branches(), "Branches cannot be exported: its forward is no plain graph"),
    ],
)  # fmt: skip
def test_what_nir_cannot_express_is_refused_in_a_line(net, words):
    shape = (3, 32, 32) if isinstance(net, models.SpikingResNet) else (2, 8, 8) if CONV in net.modules() else (2,)
    net.add_module("spare", layer.Linear(1, 1))
    if isinstance(net, nn.Sequential):
        del net.spare
    with pytest.raises(UsageError, match=words) as caught:
        to_nir(net, shape)
    assert "\n" not in str(caught.value)


def lif(n=3, tau=2 * DT, r=1.0, v_leak=0.0, v_reset=0.0, cls=nir.LIF):
    full = [np.full(n, v, np.float32) if np.isscalar(v) else np.asarray(v) for v in (tau, r, v_leak, 1.0, v_reset)]
    return cls(*full)


def graph_of(*nodes, edges=None):
    named = {"input": nir.Input({"input": np.array([3])}), **{f"n{i}": n for i, n in enumerate(nodes)}}
    named["output"] = nir.Output({"output": np.array([3])})
    names = list(named)
    return nir.NIRGraph(named, edges or list(itertools.pairwise(names)))


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (graph_of(lif(tau=np.array([1e-4, 2e-4, 3e-4]))), "node n0: 3 different values of tau"),
        (graph_of(lif(r=7.0)), "node n0: r = 7, expected 1 or tau / dt = 2"),
        (graph_of(lif(v_leak=0.5)), "node n0: v_leak 0.5 and v_reset 0 differ"),
        (graph_of(nir.IF(np.full(3, 2.0), np.ones(3))), "node n0: an IF with r = 2, expected 1"),
        (graph_of(nir.Delay(np.ones(3))), "node n0 is a Delay, which has no counterpart here"),
        (graph_of(lif(), edges=[("input", "n0"), ("n0", "n0"), ("n0", "output")]), "a cycle or a loose end at n0"),
    ],
)
def test_a_graph_that_we_have_no_neuron_for_is_refused_in_a_line(graph, words):
    with pytest.raises(UsageError, match=words):
        from_nir(graph)


def test_a_file_that_is_none_of_nir_is_refused(tmp_path):
    with pytest.raises(NotFoundError, match="no such file"):
        export.load(tmp_path / "nothing.nir")
    (tmp_path / "broken.nir").write_bytes(b"nothing")
    with pytest.raises(FormatError, match="no graph of NIR"):
        export.load(tmp_path / "broken.nir")


def test_another_simulator_spikes_the_same(tmp_path):
    """SnnTorch, which reads graphs of NIR by itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own imports
        import_nir = pytest.importorskip("snntorch.import_nir", reason="snntorch is not installed")
    net = chain(
        layer.Conv2d(2, 4, 3, stride=2, padding=1, bias=False),
        layer.BatchNorm2d(4),
        neuron.LIFNode(tau=2.0, decay_input=False),
        layer.Flatten(),
        layer.Linear(4 * 25, 12),
        neuron.ParametricLIFNode(init_tau=3.0),
        layer.Linear(12, 6, bias=False),
        neuron.LIFNode(tau=1.5),
    )
    lively(net)(torch.rand(3, 4, 2, 10, 10) * 5)
    nir.write(tmp_path / "model.nir", to_nir(net, (2, 10, 10)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = import_nir.import_from_nir(nir.read(tmp_path / "model.nir"))
    x = torch.rand(40, 1, 2, 10, 10) * 5
    wanted, state, got = spikes(net, x), None, []
    with torch.no_grad():
        for step in x:
            y, state = theirs(step, state) if state is not None else theirs(step)
            got.append(y.flatten())
    assert 0.02 < wanted.mean() < 0.98
    assert torch.equal(torch.stack(got), wanted.flatten(1))


class SmallTrainer(TinyTrainer):
    name = "small"

    def load_model(self, args, num_classes):
        return chain(
            layer.Conv2d(2, 4, 3, padding=1), layer.BatchNorm2d(4), neuron.LIFNode(), layer.MaxPool2d(2),
            layer.Flatten(), layer.Linear(64, num_classes), neuron.IFNode(),
        )  # fmt: skip


def test_a_checkpoint_becomes_a_file(tmp_path, capsys):
    trainer = SmallTrainer()
    argv = ["--out-dir", str(tmp_path), "--epochs", "1", "--select-by", "last"]
    folder = trainer.main(trainer.get_args_parser().parse(argv))["out_dir"]
    target = tmp_path / "model.nir"
    command = [folder, "-o", str(target)]
    assert export.main(command) == 2
    assert "written by trainer 'small'" in capsys.readouterr().err
    command += ["--trainer", "test_nir:SmallTrainer"]
    assert export.main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.pop("spikes") > 100
    assert told == {
        "output": str(target), "nodes": 9, "spikes_that_differ": 0, "mean_difference_of_scores": 0.0,
    }  # fmt: skip
    assert export.main(command) == 2
    assert f"{target}: exists (--force replaces it)" in capsys.readouterr().err
    assert export.main([*command, "--force"]) == 0
    net, shape = export.rebuild(checkpoint.find(tmp_path / folder, checkpoint.BEST), "test_nir:SmallTrainer")
    assert shape == (2, 8, 8)
    x = torch.rand(5, 2, *shape) * 3
    assert torch.equal(spikes(export.load(target), x), spikes(net, x))


@pytest.mark.parametrize("name", ["dvsg", "frames", "imagenet", "fashion_mnist", "sequential_fmnist"])
def test_the_scripts_are_found_by_the_name_in_a_checkpoint(name, tmp_path):
    assert export._trainer(tmp_path, name, None).name == name
