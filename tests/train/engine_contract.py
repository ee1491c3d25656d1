"""What every engine has to do: subclass ``EngineContract``, give ``engine``, say which surrogates and dtypes it takes.

Spikes and potentials equal the loop bit for bit, gradients within 1e-5 of the largest one.
"""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naive_neuron import naive_neuron, numpy_neuron
from torch import Tensor

from train import surrogate
from train.backends import Engine, NeuronSpec, state_dtype

ATAN = surrogate.ATan()
RESETS = [0.0, -0.25, None]
VARIANTS = [
    NeuronSpec(kind, ATAN, 1.0, v_reset, tau, decay_input, detach_reset)
    for kind, tau, decays in (("if", None, [True]), ("lif", 1.7, [True, False]), ("plif", None, [True, False]))
    for v_reset in RESETS
    for decay_input in decays
    for detach_reset in (False, True)
]
SHAPES = [(1, 1), (1, 1025), (16, 3), (16, 2, 3, 5, 7), (5, 33, 31), (2, 4, 8, 16, 16), (3, 0, 4), (1, 1, 1, 1)]


def name_of(spec: NeuronSpec) -> str:
    return f"{spec.kind}-reset {spec.v_reset}-decay {spec.decay_input}-detach {spec.detach_reset}"


def with_surrogate(spec: NeuronSpec, function: surrogate.Surrogate) -> NeuronSpec:
    return NeuronSpec(
        spec.kind, function, spec.v_threshold, spec.v_reset, spec.tau, spec.decay_input, spec.detach_reset
    )


def inputs(spec: NeuronSpec, shape: tuple[int, ...], dtype: torch.dtype = torch.float32, seed: int = 0) -> list[Tensor]:
    """Return leaves x_seq, v and, for PLIF, w, all of them asking for gradients."""
    g = torch.Generator().manual_seed(seed)
    x = (torch.randn(shape, generator=g) * 1.5 + 0.3).to(dtype)
    v = (torch.randn(shape[1:], generator=g) * 0.3).to(state_dtype(dtype))
    leaves = [x, v, torch.tensor(0.4, dtype=v.dtype)] if spec.kind == "plif" else [x, v]
    return [leaf.requires_grad_() for leaf in leaves]


def run(function, spec: NeuronSpec, leaves: list[Tensor], weights=(1, 1, 1), seed: int = 1) -> tuple[list, list]:
    """Return outputs and gradients, with random gradients on each output whose weight is not 0."""
    outputs = list(function(spec, *leaves))
    g = torch.Generator().manual_seed(seed)
    kept = [
        (y, (torch.randn(y.shape, generator=g) * k).to(y.dtype)) for y, k in zip(outputs, weights, strict=True) if k
    ]
    grads = torch.autograd.grad([y for y, _ in kept], leaves, [k for _, k in kept], allow_unused=True)
    return [y.detach() for y in outputs], list(grads)


def assert_close(got: Tensor, expected: Tensor, tolerance: float, what: str, scale: float = 0.0) -> None:
    """Compare to a tolerance relative to the largest value, or to ``scale``."""
    assert got.dtype == expected.dtype, what
    assert got.shape == expected.shape, what
    if got.numel():
        scale = scale or max(float(expected.abs().max()), 1e-3)
        worst = float((got.double() - expected.double()).abs().max()) / scale
        assert worst <= tolerance, f"{what}: off by {worst:.2g} of the largest"


def gradient_of_each_w(spec: NeuronSpec, leaves: list[Tensor], weights: tuple[int, ...]) -> Tensor:
    """Return the terms that add up to PLIF's gradient: they may cancel, so its error is measured against their sum."""
    x, v, w = (leaf.detach().clone().requires_grad_() for leaf in leaves)
    each = w.detach().expand_as(v).clone().requires_grad_()
    return run(naive_neuron, spec, [x, v, each], weights)[1][2] + 1e-3


class EngineContract:
    """The suite; ``surrogates`` and ``dtypes`` are what the engine claims to take."""

    engine: ClassVar[Engine]
    surrogates: ClassVar[tuple[str, ...]] = ("sigmoid", "atan")
    dtypes: ClassVar[tuple[torch.dtype, ...]] = (torch.float32, torch.float16, torch.bfloat16)
    tolerance: ClassVar[float] = 1e-5

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "spec" in metafunc.fixturenames:
            metafunc.parametrize("spec", VARIANTS, ids=name_of)
        if "name" in metafunc.fixturenames:
            metafunc.parametrize("name", metafunc.cls.surrogates)
        if "dtype" in metafunc.fixturenames:
            metafunc.parametrize("dtype", metafunc.cls.dtypes, ids=str)

    def multi_step(self, spec: NeuronSpec, *leaves: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        s_seq, v_last, v_seq = self.engine.multi_step(spec, *leaves, store_v_seq=True)
        assert v_seq is not None
        return s_seq, v_last, v_seq

    def check(self, spec: NeuronSpec, leaves: list[Tensor], weights=(1, 1, 1)) -> None:
        """Run engine and loop, and compare everything."""
        kept = [leaf.detach().clone() for leaf in leaves]
        outputs, grads = run(self.multi_step, spec, leaves, weights)
        expected, expected_grads = run(naive_neuron, spec, leaves, weights)
        for what, got, want in zip(("s_seq", "v_last", "v_seq"), outputs, expected, strict=True):
            assert got.dtype == want.dtype, what
            assert torch.equal(got, want), what
        halves = {torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
        for what, leaf, got, want in zip("xvw", leaves, grads, expected_grads, strict=False):
            if want is None:
                assert got is None or not got.any(), what
                continue
            scale = gradient_of_each_w(spec, leaves, weights).abs().sum().item() if what == "w" else 0.0
            assert_close(got, want, halves.get(leaf.dtype, self.tolerance), f"gradient of {what}", scale)
        for leaf, before in zip(leaves, kept, strict=True):
            assert torch.equal(leaf, before), "an input was written to"

    @pytest.mark.parametrize("resting", [True, False])
    def test_one_number_may_stand_for_all_potentials(self, spec: NeuronSpec, resting: bool) -> None:
        x, _, *w = inputs(spec, (5, 33, 31))
        v = torch.tensor((spec.v_reset or 0.0) if resting else 0.6).expand(33, 31)
        results = []
        for first in (v, v.clone(memory_format=torch.contiguous_format)):
            outputs = self.multi_step(spec, x, first, *w)
            gradients = torch.autograd.grad(outputs, [x, *w], [torch.ones_like(y) for y in outputs])
            results.append([*outputs, *gradients])
        assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))

    def test_it_has_a_name_and_runs_here(self) -> None:
        assert self.engine.name
        assert self.engine.why_not() is None

    def test_it_takes_what_it_claims_and_refuses_the_rest_in_words(self) -> None:
        x = torch.zeros(2, 3)
        for name, kind in surrogate.SURROGATES.items():
            refused = self.engine.refuses(NeuronSpec("if", kind()), x)
            assert (refused is None) == (name in self.surrogates), f"{name}: {refused}"
        for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
            refused = self.engine.refuses(NeuronSpec("if", ATAN), x.to(dtype))
            assert (refused is None) == (dtype in self.dtypes), f"{dtype}: {refused}"
        refused = self.engine.refuses(NeuronSpec("if", surrogate.ATan(spiking=False)), x)
        assert refused is None or "spiking" in refused

    def test_every_neuron_with_every_surrogate(self, spec: NeuronSpec, name: str) -> None:
        if name == "poisson_pass":
            return  # random: its own test
        spec = with_surrogate(spec, surrogate.get(name))
        self.check(spec, inputs(spec, (6, 3, 7)))

    def test_every_neuron_in_every_dtype(self, spec: NeuronSpec, dtype: torch.dtype) -> None:
        self.check(spec, inputs(spec, (9, 5, 13), dtype))

    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    @pytest.mark.parametrize("kind", ["if", "lif", "plif"])
    def test_one_step_many_steps_odd_sizes_and_no_batch(self, kind: str, shape: tuple[int, ...]) -> None:
        spec = NeuronSpec(kind, ATAN, tau=2.0 if kind == "lif" else None)  # type: ignore[arg-type]
        self.check(spec, inputs(spec, shape))

    @pytest.mark.parametrize("weights", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0)], ids=str)
    def test_each_output_alone_carries_gradients(self, spec: NeuronSpec, weights: tuple[int, ...]) -> None:
        self.check(spec, inputs(spec, (4, 2, 9)), weights)

    @pytest.mark.parametrize("needed", ["x", "v", "w", "xv", "vw", ""])
    def test_only_the_gradients_that_are_asked_for(self, needed: str) -> None:
        spec = NeuronSpec("plif", ATAN)
        leaves = [
            leaf.detach().requires_grad_(n in needed) for n, leaf in zip("xvw", inputs(spec, (4, 2, 9)), strict=True)
        ]
        s_seq, v_last, _ = self.engine.multi_step(spec, *leaves)
        expected, expected_last, _ = naive_neuron(spec, *leaves)
        assert torch.equal(s_seq, expected)
        assert s_seq.requires_grad == bool(needed)
        asked = [leaf for leaf in leaves if leaf.requires_grad]
        if asked:
            got = torch.autograd.grad(s_seq.sum() + v_last.sum(), asked)
            want = torch.autograd.grad(expected.sum() + expected_last.sum(), asked)
            for a, b in zip(got, want, strict=True):
                assert_close(a, b, self.tolerance, needed)

    def test_potentials_are_kept_only_when_asked_for(self) -> None:
        spec = NeuronSpec("if", ATAN)
        assert self.engine.multi_step(spec, *inputs(spec, (4, 3)))[2] is None

    def test_equality_fires_and_the_float_below_does_not(self) -> None:
        th = torch.tensor(0.7)
        x = torch.stack([th, torch.nextafter(th, torch.tensor(0.0)), torch.nextafter(th, torch.tensor(1.0))])
        for v_reset in RESETS:
            spec = NeuronSpec("if", ATAN, 0.7, v_reset)
            leaves = [x.repeat(11)[None].clone().requires_grad_(), torch.zeros(33, requires_grad=True)]
            s_seq, _, _ = self.engine.multi_step(spec, *leaves)
            assert s_seq.flatten().tolist() == [1, 0, 1] * 11
            self.check(spec, leaves)
            lif = NeuronSpec("lif", ATAN, 1.0, v_reset, 2.0, detach_reset=True)  # v = 0, x = 2: h is 1 exactly
            leaves = [
                torch.full((7, 5), 2.0 + (v_reset or 0) * 0, requires_grad=True),
                torch.zeros(5, requires_grad=True),
            ]
            self.check(lif, leaves)

    @pytest.mark.parametrize("layout", ["time last", "channels last", "expanded", "every second", "from v"])
    def test_any_strides(self, layout: str) -> None:
        spec = NeuronSpec("plif", ATAN)
        x, v, w = (leaf.detach() for leaf in inputs(spec, (6, 3, 4, 5, 7)))
        if layout == "time last":
            x = x.permute(1, 2, 3, 4, 0).contiguous().permute(4, 0, 1, 2, 3)
        elif layout == "channels last":
            x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (6, 3))
            v = v.contiguous(memory_format=torch.channels_last)
        elif layout == "expanded":
            x, v = x[:1].expand(6, -1, -1, -1, -1), v[:1].expand(3, -1, -1, -1)
        elif layout == "every second":
            x, v = x[::2, :, ::2, :, ::2], v[:, ::2, :, ::2]
        else:
            v = v.transpose(0, 1).contiguous().transpose(0, 1)
        self.check(spec, [leaf.detach().requires_grad_() for leaf in (x, v, w)])

    def test_gradients_of_any_strides(self) -> None:
        spec = NeuronSpec("lif", ATAN, tau=2.0)
        leaves = inputs(spec, (6, 3, 8))
        weight = torch.randn(8, 3, 6).permute(2, 1, 0)
        for loss in (lambda s, v: s.sum() + v.sum(), lambda s, v: (s * weight).sum() + v[:, :1].sum()):
            got = torch.autograd.grad(loss(*self.engine.multi_step(spec, *leaves)[:2]), leaves)
            want = torch.autograd.grad(loss(*naive_neuron(spec, *leaves)[:2]), leaves)
            for a, b in zip(got, want, strict=True):
                assert_close(a, b, self.tolerance, "gradient")

    def test_two_halves_are_the_whole(self, spec: NeuronSpec) -> None:
        leaves = inputs(spec, (10, 4, 6))
        x, v, *w = leaves
        whole, v_whole, _ = self.engine.multi_step(spec, x, v, *w)
        first, v_half, _ = self.engine.multi_step(spec, x[:3], v, *w)
        second, v_last, _ = self.engine.multi_step(spec, x[3:], v_half, *w)
        assert torch.equal(torch.cat([first, second]), whole)
        assert torch.equal(v_last, v_whole)
        got = torch.autograd.grad(first.sum() + second.sum() + v_last.sum(), leaves)
        want = torch.autograd.grad(whole.sum() + v_whole.sum(), leaves)
        for a, b in zip(got, want, strict=True):
            assert_close(a, b, self.tolerance, "gradient")

    def test_the_same_bits_every_time(self) -> None:
        spec = NeuronSpec("plif", ATAN)
        leaves = inputs(spec, (8, 64, 257))
        _, first = run(self.multi_step, spec, leaves)
        for _ in range(3):
            _, again = run(self.multi_step, spec, leaves)
            assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))

    def test_nan_and_infinity_pass_as_in_the_formula(self) -> None:
        for v_reset in (0.0, None):
            spec = NeuronSpec("if", ATAN, 1.0, v_reset)
            x = torch.tensor([[float("nan"), float("inf"), -float("inf"), 3e38, 0.5]]).repeat(3, 1)
            s_seq, _, v_seq = self.multi_step(spec, x, torch.zeros(5))
            assert s_seq[:, 0].tolist() == [0, 0, 0]
            assert v_seq[:, 0].isnan().all()
            assert s_seq[:, 1].tolist() == [1, 1, 1]
            assert v_seq[:, 1].tolist() == ([0.0] * 3 if v_reset == 0 else [float("inf")] * 3)
            assert s_seq[:, 2].tolist() == [0, 0, 0]
            assert s_seq[:, 4].tolist() == [0, 1, 0]

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(data=st.data())
    def test_any_neuron_on_any_input(self, data: st.DataObject) -> None:
        kind = data.draw(st.sampled_from(["if", "lif", "plif"]))
        number = st.floats(-2, 2, width=32)
        spec = NeuronSpec(
            kind,
            data.draw(st.sampled_from([surrogate.get(n) for n in self.surrogates if n != "poisson_pass"])),
            data.draw(st.sampled_from([1.0, 0.7, 1e-3, -0.5, 2.0])),
            data.draw(st.sampled_from([None, 0.0, -0.3, 0.1])),
            data.draw(st.sampled_from([1.1, 2.0, 3.7, 100.0])) if kind == "lif" else None,
            data.draw(st.booleans()),
            data.draw(st.booleans()),
        )
        T, N = data.draw(st.integers(1, 9)), data.draw(st.integers(0, 40))
        values = data.draw(st.lists(number, min_size=8, max_size=8))
        pool = torch.tensor([0.0, 1.0, 0.7, 2.0, *values], dtype=torch.float32)
        g = torch.Generator().manual_seed(data.draw(st.integers(0, 999)))
        x, v = (pool[torch.randint(len(pool), shape, generator=g)].requires_grad_() for shape in ((T, N), (N,)))
        w = [torch.tensor(data.draw(number), requires_grad=True)] if kind == "plif" else []
        self.check(spec, [x, v, *w])

    def test_spikes_of_a_numpy_loop_in_float64(self, spec: NeuronSpec) -> None:
        # On a grid of sixteenths nothing rounds with tau 2, so float32 and float64 cannot differ.
        spec = NeuronSpec(spec.kind, ATAN, 1.0, spec.v_reset, 2.0 if spec.kind == "lif" else None, spec.decay_input)
        g = torch.Generator().manual_seed(3)
        x, v = (torch.randint(-16, 32, shape, generator=g) / 16 for shape in ((4, 2, 6), (2, 6)))
        w = [torch.tensor(0.0)] if spec.kind == "plif" else []
        s_seq, _, v_seq = self.multi_step(spec, x, v, *w)
        spikes, potentials = numpy_neuron(spec, x.numpy(), v.numpy(), q=0.5)
        assert s_seq.double().numpy().tolist() == spikes.tolist()
        assert v_seq.double().numpy().tolist() == potentials.tolist()
