"""The published networks: their parameters, the names in their state_dict, their shapes, and that they learn."""

import pytest
import torch
from torch import nn

from dvsprep.errors import UsageError
from train import functional, layer, models, neuron, surrogate
from train.models.resnet import RESNETS
from train.models.sew_7b import SEWBlock

# Without PLIF's w, as published; then the layers of neurons.
PARAMETERS = {
    "mnist_net": (13_201_124, 4),
    "fashion_mnist_net": (13_201_124, 4),
    "nmnist_net": (17_134_436, 4),
    "csnn": (13_014_656, 4),
    "cifar10_net": (36_720_484, 8),
    "cifar10dvs_net": (4_691_812, 6),
    "dvs_gesture_net": (1_698_926, 7),
    "sew_7b_net": (130_411, 15),
    "sew_wide_7b_net": (1_192_202, 16),
}


def test_every_model_is_in_the_table():
    assert set(models.list_models()) == set(PARAMETERS) | set(RESNETS)
    assert models.list_models("*dvs*") == ["dvs_gesture_net", "cifar10dvs_net"]


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_the_published_ones(name):
    with torch.device("meta"):
        net = models.build(name)
    neurons = [m for m in net.modules() if isinstance(m, neuron.BaseNode)]
    own = {id(m.w) for m in neurons if isinstance(m, neuron.ParametricLIFNode)}
    assert (sum(p.numel() for p in net.parameters() if id(p) not in own), len(neurons)) == PARAMETERS[name]
    assert sum(p.numel() for p in net.parameters()) == PARAMETERS[name][0] + len(own)


def test_dvs_gesture_net_names_its_parameters_as_the_field_does():
    net = models.build("dvs_gesture_net", channels=4, spiking_neuron=neuron.LIFNode)
    with_parameters = {int(name.split(".")[1]) for name in net.state_dict()}
    assert all(name.startswith("conv_fc.") for name in net.state_dict())
    assert with_parameters == {0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 22, 25}
    assert net.state_dict()["conv_fc.22.weight"].shape == (512, 16 * 4)


@pytest.mark.parametrize("name", PARAMETERS)
def test_small_ones_run_forwards_and_backwards(name):
    kind = models.MODELS[name]
    net = models.build(name, channels=4)
    assert {m.step_mode for m in net.modules() if hasattr(m, "step_mode")} == {"m"}
    x = torch.rand(2, 3, kind.default_in_channels, *kind.default_sensor) * 4
    y = net(x)
    assert y.shape == (2, 3, kind.default_classes)
    y.sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("name", ["dvs_gesture_net", "sew_7b_net"])
def test_other_sensors_classes_and_channels(name):
    net = models.build(name, channels=2, sensor=(180, 240), classes=101, in_channels=1)
    assert net(torch.rand(1, 1, 1, 180, 240)).shape == (1, 1, 101)


@pytest.mark.parametrize(
    ("name", "sensor", "halvings"), [("dvs_gesture_net", (34, 20), 32), ("sew_7b_net", (100, 128), 128)]
)
def test_a_sensor_that_is_too_small_is_one_line(name, sensor, halvings):
    with pytest.raises(UsageError, match=rf"{sensor[0]} x {sensor[1]} pixels do not allow.*at least {halvings} pixels"):
        models.build(name, sensor=sensor)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(UsageError, match=r"no model is named 'resnet'.*dvs_gesture_net"):
        models.build("resnet")


class Fixed(nn.Module):
    """Stands for convolutions that give these spikes."""

    def __init__(self, y):
        super().__init__()
        self.y = y

    def forward(self, x):
        return self.y


@pytest.mark.parametrize(
    ("connect", "expected"), [("ADD", [0, 1, 1, 2]), ("AND", [0, 0, 0, 1]), ("IAND", [0, 0, 1, 0])]
)
def test_sew_blocks_connect_as_their_names_say(connect, expected):
    x, y = torch.tensor([0.0, 0, 1, 1]), torch.tensor([0.0, 1, 0, 1])
    block = SEWBlock(2, connect, neuron.IFNode)
    block.conv = Fixed(y)
    assert block(x).tolist() == expected


def test_an_unknown_connection_is_refused():
    with pytest.raises(UsageError, match="connect is 'OR', expected ADD, AND or IAND"):
        SEWBlock(2, "OR", neuron.IFNode)


def test_a_network_overfits_a_batch():
    torch.manual_seed(0)
    net = models.build("nmnist_net", channels=4, sensor=(8, 8), classes=3)
    for module in net.modules():
        if isinstance(module, layer.Dropout):
            module.p = 0.0
    x = torch.zeros(3, 6, 2, 8, 8)
    for n in range(6):
        x[:, n, :, (n % 3) * 2] = 2
    target = torch.eye(3)[torch.arange(6) % 3]
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(40):
        functional.reset_net(net)
        optimizer.zero_grad()
        (net(x).mean(0) - target).square().mean().backward()
        optimizer.step()
    functional.reset_net(net)
    assert torch.equal(net(x).mean(0).argmax(1), target.argmax(1))


def test_the_neuron_is_the_user_s():
    made = []

    def make():
        made.append(neuron.LIFNode(tau=3.0, surrogate_function=surrogate.Erf()))
        return made[-1]

    net = models.build("cifar10dvs_net", channels=2, spiking_neuron=make)
    assert [m for m in net.modules() if isinstance(m, neuron.BaseNode)] == made
    assert len(made) == 6
