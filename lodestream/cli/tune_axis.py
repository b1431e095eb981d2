"""Where the bars of a histogram begin: at round numbers, evenly, or by powers where some lie far off."""

import math
from collections.abc import Iterable
from itertools import pairwise

BARS = 20
"""About so many."""
FAR = 20
"""From so many times the middle on, the highest value is far from the rest."""
DEEP = 6
"""Powers of ten below the highest value that are shown apart."""


def edges(low: float, middle: float, high: float, marks: Iterable[float] = ()) -> list[float]:
    """The lower edges of the bars for values from `low` to `high`; every mark is one of them."""
    made = _powers(low, high) if 0 < middle * FAR < high else _even(low, high)
    return sorted({*made, *marks})


def case(name: str, starts: list[float]) -> str:
    """SQL that says by which bar a column is counted; what is below the first counts there."""
    later = " ".join(f"when {name} < {start!r} then {bar}" for bar, start in enumerate(starts[1:]))
    return f"case {later} else {len(starts) - 1} end" if later else "0"


def _even(low: float, high: float) -> list[float]:
    if low == high:
        return [low]
    step = _round_up((high - low) / BARS)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * n, 12) for n in range(first, max(last, first + 1))]


def _powers(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, 20 ...; before them 0 where there are values under the first."""
    first = math.floor(math.log10(max(low, high / 10**DEEP)))
    steps = [digit * 10.0**power for power in range(first, math.ceil(math.log10(high)) + 1) for digit in (1, 2, 5)]
    shown = [start for start, end in pairwise(steps) if end > max(low, high / 10**DEEP) and start < high]
    return [*([0.0] if low < shown[0] else []), *(float(f"{start:.1g}") for start in shown)]


def _round_up(step: float) -> float:
    """The next of 1, 2, 5, 10 ... of its power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= step * (1 - 1e-9))
