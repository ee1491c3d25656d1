"""Events in, counts out: by number, by time, by duration, or a user's function. Touches no files but a plugin's.

Named after what it does, because ``dvsprep.frames`` is the function that a user calls.
"""

from dvsprep.integrate.integrate import identity, integrate, integrator, needs_times, warm_up, widen

__all__ = ["identity", "integrate", "integrator", "needs_times", "warm_up", "widen"]
