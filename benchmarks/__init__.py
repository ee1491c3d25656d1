"""In: nothing but this machine. Out: how fast dvsprep is beside its peers, in one run, as ``benchmarks/results.md``."""
