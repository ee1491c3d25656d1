"""``python -m benchmarks.train``: training steps on the CPU, train and SpikingJelly 2.0 in turn in one run."""
