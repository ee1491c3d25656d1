"""The kernels of rows.hpp, surrogate.cpp and multi_step.cpp again, for Numba: float32 arrays in, arrays written.

Columns ``first`` to ``last`` of [T, N] are worked on, so that threads share the neurons among themselves.
"""

from __future__ import annotations

import math

import numpy as np

from dvsprep.jit import kernel

F = np.float32
PI = np.float32(math.pi)


@kernel
def charged(charge, v, x, decay, reset):
    """Return the potential before the spike."""
    if charge == 0:
        return v + x
    if charge == 1:
        return v + (x - (v - reset)) * decay
    if charge == 2:
        return (v - (v - reset) * decay) + x
    if charge == 3:
        return v + (x - (v - reset)) / decay
    return (v - (v - reset) / decay) + x


@kernel
def after_reset(h, hard, threshold, reset):
    """Return the potential after the spike."""
    if h >= threshold:
        return reset if hard else h - threshold
    return h


@kernel
def logistic_slope(u, a):
    """Return a S (1 - S)."""
    e = F(math.exp(-a * abs(u)))
    return a * e / ((F(1) + e) * (F(1) + e))


@kernel
def slope(surrogate, u, a, b):
    """Return the derivative of the surrogate; numbers as in plan.py."""
    m = abs(u)
    if surrogate == 0:
        return logistic_slope(u, a)
    if surrogate == 1:
        z = PI / F(2) * a * u
        return a / F(2) / (F(1) + z * z)
    if surrogate == 2:
        z = a - a * a * m
        return F(0) if z < 0 else z
    if surrogate == 3:
        return a / F(2) * F(math.exp(-a * m))
    if surrogate == 4:
        z = F(1) + a * m
        return a / F(2) / (z * z)
    if surrogate == 5:
        z = F(1) + m
        return a / (z * z)
    if surrogate == 6:
        z = a * u
        return a / F(math.sqrt(math.pi)) * F(math.exp(-z * z))
    if surrogate == 7:
        return F(1) / (F(1) / a + m)
    if surrogate == 8:
        return b if u >= 0 else a
    if surrogate == 9:
        return F(1) / (F(2) * a) if m < a else b
    if surrogate == 10:
        return (F(1) + F(2) / (a - F(1)) * m) ** -a
    if surrogate == 11:
        return logistic_slope(u, a) if u < 0 else b / (u + F(1))
    if surrogate == 12:
        return a if m < F(0.5) / a else F(0)
    if surrogate == 13:
        z = F(1) / m
        return min(z, a)
    if surrogate == 14:
        return a if u <= 0 else F(1) if u <= 1 else F(1) / u
    if surrogate == 15:
        total = F(0)
        for k in range(1, 2 * int(a) - 2, 2):
            total += F(math.cos(F(k) * (F(2) * PI / b) * u))
        return F(4) / b * total
    return F(1)


@kernel
def forward(charge, hard, decay, threshold, reset, x, v_first, s, v_last, v_seq, first, last):
    """Run the neurons; ``v_seq`` may be empty."""
    v_last[first:last] = v_first[first:last]
    for t in range(x.shape[0]):
        for i in range(first, last):
            h = charged(charge, v_last[i], x[t, i], decay, reset)
            s[t, i] = F(1) if h >= threshold else F(0)
            v_last[i] = after_reset(h, hard, threshold, reset)
        if v_seq.shape[0]:
            v_seq[t, first:last] = v_last[first:last]


@kernel
def backward(
    charge,
    hard,
    detach,
    surrogate,
    decay,
    threshold,
    reset,
    a,
    b,
    x,
    v_first,
    gs,
    gv,
    gv_seq,
    gx,
    gv_first,
    first,
    last,
):
    """Run them back; ``gs`` and ``gv_seq`` may be empty; return the gradient of 1/tau (times it if inputs decay)."""
    T, n = x.shape[0], last - first
    h = np.empty((T + 1, n), F)  # and the potential before the first step
    h[0] = v_first[first:last]
    g = gv[first:last].copy()
    inverse = F(1) / decay if charge >= 3 else decay
    carry = F(1) if charge == 0 else F(1) - inverse
    passes = inverse if charge in (1, 3) else F(1)
    total = 0.0
    for t in range(T):
        for i in range(n):
            v = after_reset(h[t, i], hard, threshold, reset) if t else h[0, i]
            h[t + 1, i] = charged(charge, v, x[t, first + i], decay, reset)
    for t in range(T - 1, -1, -1):
        for i in range(n):
            q = h[t + 1, i]
            sg = slope(surrogate, q - threshold, a, b)
            through = F(0) if hard and q >= threshold else F(1)
            if not detach:
                through += (reset - q if hard else -threshold) * sg
            upstream = g[i] + gv_seq[t, first + i] if gv_seq.shape[0] else g[i]
            gh = upstream * through
            if gs.shape[0]:
                gh += gs[t, first + i] * sg
            v = after_reset(h[t, i], hard, threshold, reset) if t else h[0, i]
            total += gh * (q - v) if charge == 1 else gh * (reset - v)
            gx[t, first + i] = gh * passes
            g[i] = gh * carry
    gv_first[first:last] = g
    return total
