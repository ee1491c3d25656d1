"""Spiking models that train from dvsprep's caches: neurons, layers, networks and their training scripts.

Empty for now.
"""
