"""Spiking networks in PyTorch: frames ``[T, N, 2, H, W]`` of a FrameSource in, firing rates and trained networks out.

Blocks in ``surrogate``, ``neuron``, ``layer`` and ``functional``; the engines that run neurons in ``backends``.
"""
