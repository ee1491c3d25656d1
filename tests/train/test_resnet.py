"""Spiking ResNets: torchvision's names and numbers, SEW's connections, weights from a file."""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch import nn

from dvsprep.errors import HashMismatchError, IntegrityError, NotFoundError, UsageError
from train import functional, fused, layer, models, neuron, surrogate, vision
from train.models import pretrained
from train.models.connect import CONNECT
from train.models.resnet import RESNETS, BasicBlock, Bottleneck

SPIKING = [name for name in RESNETS if name.startswith("spiking")]
NODES = {"if": neuron.IFNode, "lif": neuron.LIFNode, "plif": neuron.ParametricLIFNode}


def of_torchvision(name: str, **options) -> nn.Module:
    build = getattr(vision.torchvision("models"), name.removeprefix("spiking_").replace("sew_", ""))
    return build(weights=None, **options)


@pytest.mark.parametrize("name", SPIKING)
@pytest.mark.parametrize("kind", NODES)
def test_names_and_shapes_are_torchvision_s(name, kind):
    with torch.device("meta"):
        net, theirs = RESNETS[name](spiking_neuron=NODES[kind]), of_torchvision(name)
    own, wanted = net.state_dict(), theirs.state_dict()
    extra = [key for key in own if key not in wanted]
    assert all(isinstance(net.get_submodule(key.removesuffix(".w")), neuron.ParametricLIFNode) for key in extra)
    assert bool(extra) == (kind == "plif")
    assert [key for key in own if key in wanted] == list(wanted)
    assert all(own[key].shape == wanted[key].shape for key in wanted)


@pytest.mark.parametrize("name", ["spiking_resnet18", "spiking_resnet50"])
def test_with_relus_for_neurons_it_is_torchvision_s_network(name):
    torch.manual_seed(0)
    theirs = of_torchvision(name, num_classes=5).eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.weight.data.uniform_(0.5, 1)
    net = RESNETS[name](spiking_neuron=nn.ReLU, classes=5).eval()
    net.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 40, 40)
    torch.testing.assert_close(net(x[None])[0], theirs(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", RESNETS)
def test_every_one_can_be_built_by_name(name):
    with torch.device("meta"):
        net = models.build(name, classes=7, in_channels=2)
    assert net.fc.weight.shape[0] == 7
    assert net.conv1.weight.shape == (64, 2, 7, 7)
    assert name in models.list_models("*res*")


@pytest.mark.parametrize("name", ["spiking_resnet18", "spiking_resnext50_32x4d", "sew_resnet34", "sew_resnet50"])
def test_small_ones_run_forwards_and_backwards(name):
    net = models.build(name, channels=8, classes=4)
    y = net(torch.randn(2, 3, 3, 32, 32))
    assert y.shape == (2, 3, 4)
    y.sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_step_by_step_it_says_the_same():
    torch.manual_seed(0)
    net = models.build("spiking_resnet18", channels=4, classes=4).eval()
    x = torch.randn(3, 2, 3, 32, 32) * 3
    together = net(x)
    functional.reset_net(net)
    functional.set_step_mode(net, "s")
    torch.testing.assert_close(torch.stack([net(step) for step in x]), together)


class Spikes(nn.Module):
    """Stands for a layer that gives these spikes."""

    def __init__(self, y):
        super().__init__()
        self.y = y

    def forward(self, x):
        return self.y


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
@pytest.mark.parametrize(
    ("connect", "expected"), [("ADD", [0, 1, 1, 2]), ("AND", [0, 0, 0, 1]), ("IAND", [0, 0, 1, 0])]
)
def test_sew_blocks_take_the_identity_first(block, connect, expected):
    x, y = torch.tensor([0.0, 0, 1, 1]), torch.tensor([0.0, 1, 0, 1])
    sew = block(2, 2, 2, neuron.IFNode, 1, 1, connect)
    sew.chain = lambda modules, x: y
    assert sew(x).tolist() == expected
    assert CONNECT[connect](x, y).tolist() == expected


def test_an_unknown_connection_is_refused():
    with pytest.raises(UsageError, match="connect is 'OR', expected ADD, AND or IAND"):
        models.build("sew_resnet18", connect="OR")


def test_a_sew_shortcut_spikes():
    net = models.build("sew_resnet18", channels=2)
    assert isinstance(net.layer2[0].downsample[2], neuron.IFNode)
    assert len(models.build("spiking_resnet18", channels=2).layer2[0].downsample) == 2


@pytest.mark.parametrize("name", ["spiking_resnet18", "sew_resnet50"])
def test_fused_on_the_cpu_it_is_the_same_network(name):
    torch.manual_seed(0)
    net = models.build(name, channels=8, classes=4)
    functional.set_backend(net, "cpu")
    x = torch.randn(2, 2, 3, 40, 40)
    plain = net(x)
    plain.square().sum().backward()
    gradient = net.conv1.weight.grad.clone()
    net.zero_grad()
    functional.reset_net(net)
    calls = []
    run = fused._run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "_run", lambda modules, x: calls.append(len(modules)) or run(modules, x))
        y = fused.fuse(net)(x)
    assert len(calls) == sum(isinstance(m, neuron.IFNode) for m in net.modules()) - 8 * (name == "spiking_resnet18")
    torch.testing.assert_close(y, plain, rtol=1e-4, atol=1e-4)
    y.square().sum().backward()
    torch.testing.assert_close(net.conv1.weight.grad, gradient, rtol=1e-2, atol=1e-3 * float(gradient.abs().max()))


def test_a_user_s_own_chain_is_left_alone():
    class Mine(nn.Module):
        def __init__(self):
            super().__init__()
            self.chain = nn.Sequential(layer.Linear(2, 2))

    net = fused.fuse(Mine())
    assert isinstance(net.chain, nn.Sequential)


def saved(folder, state, digits=None):
    path = folder / "weights.pth"
    torch.save(state, path)
    digits = digits or hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return path.rename(folder / f"resnet18-{digits}.pth")


@pytest.mark.parametrize("kind", NODES)
def test_torchvision_s_weights_load_strictly(tmp_path, kind):
    theirs = of_torchvision("resnet18").state_dict()
    path = saved(tmp_path, theirs)
    net = models.build("spiking_resnet18", spiking_neuron=NODES[kind], pretrained=path)
    assert all(torch.equal(net.state_dict()[key], theirs[key]) for key in theirs)
    result = net.load_state_dict(theirs, strict=True)
    assert (result.missing_keys, result.unexpected_keys) == ([], [])


def test_another_number_of_classes_leaves_the_last_layer_new(tmp_path):
    theirs = of_torchvision("resnet18").state_dict()
    net = models.build("spiking_resnet18", pretrained=saved(tmp_path, theirs), classes=10)
    assert (net.pretrained_classes, net.fc.weight.shape) == (1000, (10, 512))
    assert all(torch.equal(net.state_dict()[key], theirs[key]) for key in theirs if not key.startswith("fc"))


def test_weights_with_some_of_the_neurons_parameters_are_strict():
    net = models.build("spiking_resnet18", channels=2, spiking_neuron=neuron.ParametricLIFNode)
    state = net.state_dict()
    del state["sn1.w"]
    with pytest.raises(RuntimeError, match="sn1"):
        net.load_state_dict(state)
    del state["fc.weight"]
    with pytest.raises(RuntimeError, match="fc"):
        net.load_state_dict({key: value for key, value in state.items() if not key.endswith(".w")})


def test_a_file_of_weights_that_is_wrong_is_one_line(tmp_path):
    path = saved(tmp_path, {}, digits="0" * 8)
    for file, error, words in [
        (path, HashMismatchError, r"SHA-256 begins with [0-9a-f]{8}, expected 00000000 as its name says"),
        (tmp_path / "none.pth", NotFoundError, "no such file of weights"),
        (
            saved(tmp_path, of_torchvision("resnet34").state_dict()),
            UsageError,
            "weights of another network: Unexpected",
        ),
        (saved(tmp_path, [1]), IntegrityError, "holds a list, expected weights by name"),
    ]:
        with pytest.raises(error, match=words) as caught:
            models.build("spiking_resnet18", pretrained=file)
        assert "\n" not in str(caught.value)
    broken = tmp_path / "weights.pth"
    broken.write_bytes(b"no zip")
    with pytest.raises(IntegrityError, match=r"weights.pth: no weights of torch: [^.\n]+$"):
        models.build("spiking_resnet18", pretrained=broken)


def test_true_downloads_to_where_torchvision_would(tmp_path, monkeypatch):
    theirs = of_torchvision("resnet18").state_dict()
    source = saved(tmp_path, theirs)
    monkeypatch.setattr(pretrained, "URL", tmp_path.as_uri())
    monkeypatch.setattr(RESNETS["spiking_resnet18"], "torchvision_file", source.name)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    net = models.build("spiking_resnet18", pretrained=True)
    assert torch.equal(net.fc.weight, theirs["fc.weight"])
    assert (tmp_path / "hub" / "checkpoints" / source.name).is_file()
    wrong = saved(tmp_path, {}, digits="1" * 8)
    monkeypatch.setattr(RESNETS["spiking_resnet18"], "torchvision_file", wrong.name)
    with pytest.raises(Exception, match="11111111"):
        models.build("spiking_resnet18", pretrained=True)


def test_the_neuron_is_the_user_s():
    net = models.build(
        "spiking_resnet18", channels=2, spiking_neuron=lambda: neuron.LIFNode(surrogate_function=surrogate.Erf())
    )
    nodes = [m for m in net.modules() if isinstance(m, neuron.BaseNode)]
    assert len(nodes) == 17
    assert {type(m) for m in nodes} == {neuron.LIFNode}
    assert not any(isinstance(m, layer.Dropout) for m in net.modules())
