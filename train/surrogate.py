"""Surrogate gradients: a spike forwards, a smooth derivative backwards.

A surrogate is a small frozen value, not a module: it compares, hashes, pickles, and an engine looks its ``name`` and
``params`` up. ``ATan()(u)`` fires where u = h - v_threshold >= 0 and sends the derivative back;
``ATan(spiking=False)(u)`` returns the primitive. Formulas and defaults are the field's (SpikingJelly 2.0).
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dvsprep.errors import UsageError

SURROGATES: dict[str, type[Surrogate]] = {}  # by name; a subclass enters itself


@dataclass(frozen=True)
class Surrogate:
    """What all surrogates share; a subclass gives ``name``, its parameters, ``primitive`` and ``derivative``."""

    name: ClassVar[str] = ""
    positive: ClassVar[tuple[str, ...]] = ("alpha",)  # the parameters that have to be greater than zero
    spiking: bool = field(default=True, kw_only=True)

    def __init_subclass__(cls) -> None:
        known = SURROGATES.get(cls.name)
        if "name" not in vars(cls) or (known and known.__module__ != cls.__module__):
            # With the name of another one, an engine would run the other one's derivative.
            raise UsageError(f"surrogate {cls.__name__} has no name of its own, got {cls.name!r}", hint="set `name`")
        SURROGATES[cls.name] = cls

    def __post_init__(self) -> None:
        for key, value in self.params.items():
            if not math.isfinite(value) or (key in self.positive and value <= 0):
                expected = "greater than 0" if key in self.positive else "finite"
                raise UsageError(f"surrogate {self.name}: {key} has to be {expected}, got {value}")

    @property
    def params(self) -> dict[str, float]:
        """The parameters by name, without ``spiking``."""
        return {f.name: float(getattr(self, f.name)) for f in fields(self) if f.name != "spiking"}

    @property
    def fires_at_threshold(self) -> bool:
        """Whether ``u >= 0`` alone decides; False where a subclass has a ``fire`` of its own."""
        return type(self).fire is Surrogate.fire

    def __call__(self, u: Tensor) -> Tensor:
        """Fire where ``u >= 0``, with the surrogate gradient; the primitive if not ``spiking``."""
        spikes: Tensor = _Spike.apply(u, self) if self.spiking else self.primitive(u)  # type: ignore[no-untyped-call]
        return spikes

    def fire(self, u: Tensor) -> Tensor:
        """Return the spikes alone, 0 or 1 in the dtype of ``u``; equality with the threshold fires."""
        return (u >= 0).to(u.dtype)

    def primitive(self, u: Tensor) -> Tensor:
        """Return the smooth function that stands for the step."""
        raise NotImplementedError

    def derivative(self, u: Tensor) -> Tensor:
        """Return what stands for the derivative of the step."""
        raise NotImplementedError


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(u)
        ctx.surrogate = surrogate
        return surrogate.fire(u)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return grad * ctx.surrogate.derivative(u), None


@dataclass(frozen=True)
class Sigmoid(Surrogate):
    """The logistic function, the default of the field's neurons."""

    name: ClassVar[str] = "sigmoid"
    alpha: float = 4.0

    def primitive(self, u: Tensor) -> Tensor:
        return torch.sigmoid(self.alpha * u)

    def derivative(self, u: Tensor) -> Tensor:
        s = torch.sigmoid(self.alpha * u)
        return self.alpha * (s * (1 - s))


@dataclass(frozen=True)
class ATan(Surrogate):
    """The arc tangent (Fang et al. 2021, PLIF)."""

    name: ClassVar[str] = "atan"
    alpha: float = 2.0

    def primitive(self, u: Tensor) -> Tensor:
        return torch.atan(math.pi / 2 * self.alpha * u) / math.pi + 0.5

    def derivative(self, u: Tensor) -> Tensor:
        return self.alpha / 2 / (1 + (math.pi / 2 * self.alpha * u).square())


@dataclass(frozen=True)
class PiecewiseQuadratic(Surrogate):
    """A triangle of height alpha and width 2/alpha (Esser et al. 2016; Wu et al. 2018)."""

    name: ClassVar[str] = "piecewise_quadratic"
    alpha: float = 1.0

    def primitive(self, u: Tensor) -> Tensor:
        z = (self.alpha * u).clamp(-1, 1)
        return z - z * z.abs() / 2 + 0.5

    def derivative(self, u: Tensor) -> Tensor:
        return torch.relu(self.alpha - self.alpha**2 * u.abs())


@dataclass(frozen=True)
class PiecewiseExp(Surrogate):
    """A two-sided exponential (Shrestha & Orchard 2018, SLAYER)."""

    name: ClassVar[str] = "piecewise_exp"
    alpha: float = 1.0

    def primitive(self, u: Tensor) -> Tensor:
        tail = torch.exp(-self.alpha * u.abs()) / 2
        return torch.where(u >= 0, 1 - tail, tail)

    def derivative(self, u: Tensor) -> Tensor:
        return self.alpha / 2 * torch.exp(-self.alpha * u.abs())


@dataclass(frozen=True)
class SoftSign(Surrogate):
    """The soft sign, scaled to [0, 1]."""

    name: ClassVar[str] = "soft_sign"
    alpha: float = 2.0

    def primitive(self, u: Tensor) -> Tensor:
        z = self.alpha * u
        return (z / (1 + z.abs()) + 1) / 2

    def derivative(self, u: Tensor) -> Tensor:
        return self.alpha / 2 / (1 + self.alpha * u.abs()).square()


@dataclass(frozen=True)
class SuperSpike(Surrogate):
    """The fast sigmoid (Zenke & Ganguli 2018), alpha a factor in front."""

    name: ClassVar[str] = "super_spike"
    alpha: float = 1.0

    def primitive(self, u: Tensor) -> Tensor:
        return self.alpha * u / (1 + u.abs())

    def derivative(self, u: Tensor) -> Tensor:
        return self.alpha / (1 + u.abs()).square()


@dataclass(frozen=True)
class Erf(Surrogate):
    """The Gaussian error function (Esser et al. 2015; Yin et al. 2020)."""

    name: ClassVar[str] = "erf"
    alpha: float = 2.0

    def primitive(self, u: Tensor) -> Tensor:
        return torch.erfc(-self.alpha * u) / 2

    def derivative(self, u: Tensor) -> Tensor:
        return self.alpha / math.sqrt(math.pi) * torch.exp(-(self.alpha * u).square())


@dataclass(frozen=True)
class NonzeroSignLogAbs(Surrogate):
    """A signed logarithm: the derivative never vanishes."""

    name: ClassVar[str] = "nonzero_sign_log_abs"
    alpha: float = 1.0

    def primitive(self, u: Tensor) -> Tensor:
        return torch.sign(u) * torch.log1p(self.alpha * u.abs())

    def derivative(self, u: Tensor) -> Tensor:
        return 1 / (1 / self.alpha + u.abs())


@dataclass(frozen=True)
class LeakyKReLU(Surrogate):
    """Slope ``k`` above the threshold, ``leak`` below."""

    name: ClassVar[str] = "leaky_k_relu"
    leak: float = 0.0
    k: float = 1.0

    def primitive(self, u: Tensor) -> Tensor:
        return self.derivative(u) * u

    def derivative(self, u: Tensor) -> Tensor:
        return torch.where(u >= 0, torch.full_like(u, self.k), self.leak)


@dataclass(frozen=True)
class PiecewiseLeakyReLU(Surrogate):
    """A ramp of half-width ``w`` with slope ``c`` outside."""

    name: ClassVar[str] = "piecewise_leaky_relu"
    positive: ClassVar[tuple[str, ...]] = ("w",)
    w: float = 1.0
    c: float = 0.01

    def primitive(self, u: Tensor) -> Tensor:
        inside = u.clamp(-self.w, self.w)
        return inside / (2 * self.w) + 0.5 + self.c * (u - inside)

    def derivative(self, u: Tensor) -> Tensor:
        return torch.where(u.abs() < self.w, torch.full_like(u, 1 / (2 * self.w)), self.c)


@dataclass(frozen=True)
class QPseudoSpike(Surrogate):
    """A q-exponential (Herranz-Celotti & Rouat 2022); alpha greater than 1."""

    name: ClassVar[str] = "q_pseudo_spike"
    alpha: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha <= 1:
            raise UsageError(f"surrogate {self.name}: alpha has to be greater than 1, got {self.alpha}")

    def primitive(self, u: Tensor) -> Tensor:
        tail = (1 + 2 / (self.alpha - 1) * u.abs()).pow(1 - self.alpha) / 2
        return torch.where(u >= 0, 1 - tail, tail)

    def derivative(self, u: Tensor) -> Tensor:
        return (1 + 2 / (self.alpha - 1) * u.abs()).pow(-self.alpha)


@dataclass(frozen=True)
class S2NN(Surrogate):
    """Sigmoid below the threshold, logarithm above (Suetake et al. 2022)."""

    name: ClassVar[str] = "s2nn"
    positive: ClassVar[tuple[str, ...]] = ("alpha", "beta")
    alpha: float = 4.0
    beta: float = 1.0

    def primitive(self, u: Tensor) -> Tensor:
        return torch.where(u < 0, torch.sigmoid(self.alpha * u), self.beta * torch.log1p(u.clamp(min=0)) + 0.5)

    def derivative(self, u: Tensor) -> Tensor:
        s = torch.sigmoid(self.alpha * u)
        return torch.where(u < 0, self.alpha * (s * (1 - s)), self.beta / (u.clamp(min=0) + 1))


@dataclass(frozen=True)
class Rect(Surrogate):
    """A box of height alpha and width 1/alpha."""

    name: ClassVar[str] = "rect"
    alpha: float = 1.0

    def primitive(self, u: Tensor) -> Tensor:
        return (self.alpha * u + 0.5).clamp(0, 1)

    def derivative(self, u: Tensor) -> Tensor:
        return torch.where(u.abs() < 0.5 / self.alpha, torch.full_like(u, self.alpha), 0)


@dataclass(frozen=True)
class FakeNumericalGradient(Surrogate):
    """The difference quotient sign(u)/u, cut at alpha."""

    name: ClassVar[str] = "fake_numerical_gradient"
    alpha: float = 0.3

    def primitive(self, u: Tensor) -> Tensor:
        z = self.alpha * u
        return torch.where(z.abs() <= 1, z, torch.sign(z) * (1 + torch.log(z.abs().clamp(min=1))))

    def derivative(self, u: Tensor) -> Tensor:
        return (1 / u.abs()).clamp(max=self.alpha)


@dataclass(frozen=True)
class LogTailedReLU(Surrogate):
    """A ReLU that grows as the logarithm above 1, with slope alpha below the threshold (Cai et al. 2017)."""

    name: ClassVar[str] = "log_tailed_relu"
    positive: ClassVar[tuple[str, ...]] = ()
    alpha: float = 0.0

    def primitive(self, u: Tensor) -> Tensor:
        below = torch.where(u <= 0, self.alpha * u, u)
        return torch.where(u <= 1, below, 1 + torch.log(u.clamp(min=1)))

    def derivative(self, u: Tensor) -> Tensor:
        return torch.where(u <= 0, torch.full_like(u, self.alpha), 1 / u.clamp(min=1))


@dataclass(frozen=True)
class SquarewaveFourierSeries(Surrogate):
    """The first n - 1 terms of a square wave's Fourier series, with period ``T_period``."""

    name: ClassVar[str] = "squarewave_fourier_series"
    positive: ClassVar[tuple[str, ...]] = ("T_period",)
    n: int = 2
    T_period: float = 8.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if int(self.n) != self.n or self.n < 2:
            raise UsageError(f"surrogate {self.name}: n has to be a whole number of at least 2, got {self.n}")

    def _odd(self) -> range:
        return range(1, 2 * int(self.n) - 2, 2)

    def primitive(self, u: Tensor) -> Tensor:
        z = 2 * math.pi / self.T_period * u
        return 0.5 + 2 / math.pi * torch.stack([torch.sin(k * z) / k for k in self._odd()]).sum(0)

    def derivative(self, u: Tensor) -> Tensor:
        z = 2 * math.pi / self.T_period * u
        return 4 / self.T_period * torch.stack([torch.cos(k * z) for k in self._odd()]).sum(0)


@dataclass(frozen=True)
class DeterministicPass(Surrogate):
    """The straight-through estimator: the derivative is 1."""

    name: ClassVar[str] = "deterministic_pass"

    def primitive(self, u: Tensor) -> Tensor:
        return u

    def derivative(self, u: Tensor) -> Tensor:
        return torch.ones_like(u)


@dataclass(frozen=True)
class PoissonPass(DeterministicPass):
    """Fires with probability u, cut to [0, 1]; straight through backwards. Draws from torch's generator."""

    name: ClassVar[str] = "poisson_pass"

    def fire(self, u: Tensor) -> Tensor:
        return torch.bernoulli(u.clamp(0, 1))


def names() -> list[str]:
    """Return every name that :func:`get` knows."""
    return sorted(SURROGATES)


def get(name: str, **params: Any) -> Surrogate:
    """Return a surrogate by name, as ``get("atan", alpha=2.0)``.

    Raises
    ------
    UsageError
        With the nearest names, or the parameters that the surrogate has.
    """
    kind = SURROGATES.get(name.lower())
    if kind is None:
        near = difflib.get_close_matches(name.lower(), SURROGATES, 2)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names())}"
        raise UsageError(f"no surrogate is named {name!r}", hint=hint)
    if unknown := sorted(set(params) - {f.name for f in fields(kind)}):
        has = ", ".join(f.name for f in fields(kind))
        raise UsageError(f"surrogate {name} has no parameter {unknown[0]}", hint=f"it has {has}")
    return kind(**params)
