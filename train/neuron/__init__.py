"""Input current in, spikes or decoded potentials out; the potential ``v`` is carried from call to call until reset."""

from train.neuron.non_spiking import DECODES, NonSpikingIFNode, NonSpikingLIFNode
from train.neuron.spiking import BaseNode, IFNode, LIFNode, NodeOptions, ParametricLIFNode

__all__ = [
    "DECODES",
    "BaseNode",
    "IFNode",
    "LIFNode",
    "NodeOptions",
    "NonSpikingIFNode",
    "NonSpikingLIFNode",
    "ParametricLIFNode",
]
