"""One-line bugs in the kernels are caught: each operator, constant, index and switch of neuron.cu is broken in turn."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import torch
from conftest import Finder
from cuda_cpu import Kernel, Kernels, LaunchError, Unit, Variant, kernel_of
from engine_contract import EngineContract
from standin_cupy import StandIn, World
from torch import Tensor

from train import surrogate
from train.backends import NeuronSpec
from train.backends.cupy import CupyEngine, options
from train.backends.torch_loop import charge, decay_rate

# What is put in the place of what, wherever it stands in the text.
BUGS = [
    (" + ", " - "),
    (" - ", " + "),
    (" * ", " / "),
    (" / ", " * "),
    ("+=", "-="),
    ("-=", "+="),
    (">=", ">"),
    (" < ", " <= "),
    (" <= ", " < "),
    ("0.0f", "1.0f"),
    ("1.0f", "2.0f"),
    ("0.5f", "0.25f"),
    ("(-a", "(a"),
    ("(-(a", "((a"),
    (", -a)", ", a)"),
    ("fabsf(u)", "u"),
    ("fmaxf", "fminf"),
    ("fminf", "fmaxf"),
    ("[i]", "[n]"),
    ("= v_first[n]", "= 0.0f"),
    (": v_first[n]", ": 0.0f"),
    ("? v_reset : h", "? h : v_reset"),
    ("- v_before)", "- g)"),
    ("(v_before, ", "(h, "),
    ("if (t) h = h_ahead[j];", ""),
    ("t > 0", "t >= 0"),
    ("t >= 0", "t > 0"),
    ("k = *q;", "k = 1.0f;"),
    ("__syncthreads();", ""),
    ("if (n >= N) return;", "if (n + 1 >= N) return;"),
    ("if (threadIdx.x == 0) ", "if (threadIdx.x == 1) "),
    ("if (n < N) {", "if (n >= N) return; {"),
    ("if (h_seq) ", "if (v_seq) "),
    ("if (gv_seq) ", "if (!gv_seq) "),
    ("if (gs) ", "if (!gs) "),
    ("#if HARD", "#if !HARD"),
    ("#if !DETACH", "#if DETACH"),
    ("if DECAY_INPUT", "if !DECAY_INPUT"),
    ("(DECAY_INPUT ?", "(!DECAY_INPUT ?"),
    ("KIND == LIF && DIVIDE", "KIND == LIF && !DIVIDE"),
]
# Changes that no input can tell from the original.
SAME = {
    ("first < T", "first <= T"): "a round that begins at T has no steps",
    ("expf(-a * u)", "expf(a * u)"): "the derivative of the sigmoid is even",
    ("u < 0.0f ? d_sigmoid(u, a, 0.0f)", "d_sigmoid(u, a, 1.0f)"): "the last parameter is not used",
    ("k < 2.0f * n - 2.0f", "k <= 2.0f * n - 2.0f"): "k is odd, the bound is even",
}
# Changes that would run forever or far outside of all memory.
DEADLY = re.compile(r"for \(float k = .*k -= 2\.0f|half = BLOCK \* 2|first -= STEPS|last \+= STEPS")

SPECS = [
    NeuronSpec("if", surrogate.ATan(), 1.0, 0.25),
    NeuronSpec("if", surrogate.ATan(), 1.0, None),
    NeuronSpec("lif", surrogate.ATan(), 1.0, 0.25, 1.7),
    NeuronSpec("lif", surrogate.ATan(), 1.0, None, 2.0, decay_input=False, detach_reset=True),
    NeuronSpec("plif", surrogate.ATan(), 1.0, 0.25),
    NeuronSpec("plif", surrogate.ATan(), 1.0, 0.25, decay_input=False, detach_reset=True),
    NeuronSpec("plif", surrogate.ATan(), 1.0, None, decay_input=False),
]
# Parameters that are not the defaults, and of which no two are alike.
PARAMETERS = {
    "leaky_k_relu": {"leak": 0.3, "k": 0.8},
    "piecewise_leaky_relu": {"w": 0.25, "c": 0.05},
    "q_pseudo_spike": {"alpha": 1.7},
    "s2nn": {"alpha": 3.0, "beta": 0.7},
    "rect": {"alpha": 2.0},
    "fake_numerical_gradient": {"alpha": 0.7},
    "log_tailed_relu": {"alpha": 0.2},
    "squarewave_fourier_series": {"n": 3, "T_period": 7.0},
    "deterministic_pass": {},
}


class Mutant(NamedTuple):
    line: int
    before: str
    after: str
    text: str
    kernels: tuple[str, ...]  # those that the line is part of
    specs: tuple[NeuronSpec, ...]

    def __str__(self) -> str:
        return f"line {self.line}: {self.before.strip()}  ->  {self.after.strip()}"


def mutants_of(text: str) -> Iterator[Mutant]:
    """Yield every mutant of a line of code, with the kernels and neurons that it concerns."""
    lines = text.splitlines()
    place = ""
    for i, line in enumerate(lines):
        if found := re.match(r"(?:__device__ __forceinline__ \w+ |)(\w+)\(", line):
            place = found[1]
        if place in ("", "widen", "narrow") or line.startswith(("//", "#define", "#pragma")):
            continue
        code = line.split("//")[0]
        for old, new in BUGS:
            for at in (m.start() for m in re.finditer(re.escape(old), code)):
                after = code[:at] + new + code[at + len(old) :]
                if DEADLY.search(after):
                    continue
                mutated = "\n".join([*lines[:i], after, *lines[i + 1 :]])
                kernels = (place,) if place in ("forward", "backward") else ("forward", "backward")
                if place.startswith("d_"):
                    function = surrogate.get(place[2:], **PARAMETERS.get(place[2:], {"alpha": 1.3}))
                    yield Mutant(i + 1, line, after, mutated, ("backward",), (NeuronSpec("if", function),))
                else:
                    yield Mutant(i + 1, line, after, mutated, kernels, tuple(SPECS))


def is_the_same(mutant: Mutant) -> bool:
    return any(old in mutant.before and new in mutant.after and old not in mutant.after for old, new in SAME)


@functools.cache
def inputs_of(spec: NeuronSpec) -> tuple[NeuronSpec, list[Tensor]]:
    """Return leaves and the neuron whose threshold many of them hit exactly.

    Two blocks, two rounds and a step; the arrays of all steps fill three pages but for 48 bytes, so that what is read
    before them is noticed as well as what is read behind.
    """
    g = torch.Generator().manual_seed(5)
    x, v = torch.randn(9, 340, generator=g) + 0.8, torch.randn(340, generator=g) * 0.3
    x[:, 100:200] = (x[:, 100:200] * 8).round() / 8
    v[100:200] = (v[100:200] * 8).round() / 8  # sums of eighths: surrogates are tried at their corners too
    leaves = [x, v]
    if spec.kind == "plif":
        leaves.append(torch.tensor(0.4))
    if spec.surrogate.name == "atan":
        x[0, :20], v[:20] = 1.75, spec.v_reset or 0.125
        rate = decay_rate(spec, v, leaves[2] if spec.kind == "plif" else None)
        threshold = float(charge(spec, x[0, :1], v[:1], rate))
        spec = NeuronSpec(
            spec.kind, spec.surrogate, threshold, spec.v_reset, spec.tau, spec.decay_input, spec.detach_reset
        )
    return spec, [leaf.requires_grad_() for leaf in leaves]


def units_of(mutant: Mutant) -> list[Unit]:
    """Return the kernels of a mutant that differ from the original's."""
    variants = [options(s, torch.float32, backward=b) for s in mutant.specs for b in (False, True)]
    return [(mutant.text, variant) for variant in variants if kernel_of(variant) in mutant.kernels]


class Broken:
    """Finds the mutant's kernel where it differs, the original's where it does not."""

    def __init__(self, mutant: Mutant, kernels: Kernels, find: Finder) -> None:
        self.mutant, self.kernels, self.find = mutant, kernels, find

    def __call__(self, text: str, variant: Variant) -> Kernel:
        if kernel_of(variant) in self.mutant.kernels:
            return self.kernels.get(self.mutant.text, variant)
        return self.find(text, variant)


def complaint(world: World, spec: NeuronSpec) -> str | None:
    """Return what the contract says to the engine in this world, in two orders of threads; None if all is well."""
    probe = EngineContract()
    probe.engine = CupyEngine(StandIn(world))  # type: ignore[misc]
    spec, leaves = inputs_of(spec)
    for world.order in (0, 1):
        try:
            for weights in ((1, 1, 1), (0, 1, 0), (1, 0, 0)):
                probe.check(spec, leaves, weights)
            with_v_seq, without = (probe.engine.multi_step(spec, *leaves, store_v_seq=b)[:2] for b in (True, False))
            for a, b in zip(gradients(with_v_seq, leaves), gradients(without, leaves), strict=True):
                assert torch.equal(a, b), "gradients depend on whether the potentials are kept"
        except (AssertionError, LaunchError) as error:
            return str(error)
    return None


def gradients(outputs: tuple[Tensor, ...], leaves: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(sum(y.sum() for y in outputs), leaves)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def mutants(text: str, find: Finder) -> list[tuple[Mutant, Broken]]:
    found = [m for m in mutants_of(text) if not is_the_same(m)]
    kernels = Kernels(itertools.chain.from_iterable(map(units_of, found)), find.folder, libraries=4)
    return [(mutant, Broken(mutant, kernels, find)) for mutant in found]


def test_the_text_as_it_is_passes(find: Finder, text: str) -> None:
    for spec in {spec for mutant in mutants_of(text) for spec in mutant.specs}:
        assert complaint(World(find), spec) is None, spec


def test_exact_hits_of_the_threshold_are_among_the_inputs() -> None:
    for spec in SPECS:
        hit, (x, v, *w) = inputs_of(spec)
        h = charge(hit, x[0], v, decay_rate(hit, v, w[0] if w else None))
        assert int((h == hit.v_threshold).sum()) >= 20


def test_every_mutant_is_caught(mutants: list[tuple[Mutant, Broken]]) -> None:
    survivors = [
        str(mutant)
        for mutant, broken in mutants
        if all(complaint(World(broken), spec) is None for spec in mutant.specs)
    ]
    assert "\n".join(survivors) == ""
    assert len(mutants) > 150


def test_each_exception_is_still_in_the_text(text: str) -> None:
    same = [m for m in mutants_of(text) if is_the_same(m)]
    assert len(same) == len(SAME)
