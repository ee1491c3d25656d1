"""Input current in, spikes or decoded potentials out; the potential ``v`` is carried from call to call until reset."""

from train.neuron.more import PSN, AutogradNode, CUBALIFNode, EIFNode, IzhikevichNode, KLIFNode, QIFNode
from train.neuron.non_spiking import DECODES, NonSpikingIFNode, NonSpikingLIFNode
from train.neuron.spiking import (
    BaseNode,
    FiringNode,
    FiringOptions,
    IFNode,
    LIFNode,
    NodeOptions,
    ParametricLIFNode,
)

__all__ = [
    "DECODES",
    "PSN",
    "AutogradNode",
    "BaseNode",
    "CUBALIFNode",
    "EIFNode",
    "FiringNode",
    "FiringOptions",
    "IFNode",
    "IzhikevichNode",
    "KLIFNode",
    "LIFNode",
    "NodeOptions",
    "NonSpikingIFNode",
    "NonSpikingLIFNode",
    "ParametricLIFNode",
    "QIFNode",
]
