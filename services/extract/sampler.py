"""Which pictures of a video to keep, decided from their presentation times alone.

- every T: time is cut into steps [0, T), [T, 2T) ... and the first picture of each step is taken; an empty step gives
  none. It is what FFmpeg selects by `select='isnan(prev_selected_t)+gt(floor(t/T),floor(prev_selected_t/T))'`.
  (FFmpeg's `fps=1/T` gives as many, stamped 0, T, 2T ..., but shows in each the last picture before k*T + T/2.)
- fps F: every 1/F seconds.
- keyframes: each picture that a decoder can begin at.
- count N: the stretch is cut into N equal parts, and the picture that stands in the middle of each is taken; exactly
  N different ones, or all where there are fewer.
- scene: decided while decoding, see `scene`.

Steps count from `start` where one is given. A picture that misses a step by less than half a tick of its container's
clock (and half a millisecond at most) was meant for it: WebM, for one, rounds to whole milliseconds.
"""

from bisect import bisect_right
from collections.abc import Sequence
from math import floor

import msgspec

MOST_SLACK = 0.0005


class Sampler(msgspec.Struct, frozen=True):
    """One way of choosing, and the stretch of the video to choose from (seconds; `end` itself is not part of it)."""

    every: float | None = None
    keyframes: bool = False
    count: int | None = None
    scene: float | None = None
    start: float = 0.0
    end: float | None = None

    def choose(self, times: Sequence[float], keys: Sequence[bool], ends: float, tick: float = 0.0) -> list[int]:
        """Positions of the pictures to keep; for `scene`, of all that are to be looked at.

        `times` are those of all pictures, ascending, in seconds; `keys` says which of them are keyframes; the last is
        shown until `ends`; the container's clock goes in steps of `tick` seconds.
        """
        slack = min(tick / 2, MOST_SLACK) + 1e-9
        first = bisect_right(times, self.start - slack)
        last = len(times) if self.end is None else bisect_right(times, self.end - slack)
        stretch = range(first, last)
        if self.every is not None:
            chosen = _first_of_each_step(times, stretch, self.start - slack, self.every)
        elif self.count is not None:
            chosen = _spread(times, stretch, self.count, ends if self.end is None else min(ends, self.end))
        else:
            chosen = [i for i in stretch if keys[i] or not self.keyframes]
        return _distinct(times, chosen)


def _first_of_each_step(times: Sequence[float], stretch: range, start: float, every: float) -> list[int]:
    chosen, step = [], -1
    for i in stretch:
        if (this := floor((times[i] - start) / every)) > step:
            chosen.append(i)
            step = this
    return chosen


def _spread(times: Sequence[float], stretch: range, count: int, until: float) -> list[int]:
    if len(stretch) <= count:
        return list(stretch)
    part, chosen, following = (until - times[stretch[0]]) / count, [], stretch[0]
    for k in range(count):
        middle = times[stretch[0]] + (k + 0.5) * part
        shown = bisect_right(times, middle) - 1
        chosen.append(min(max(shown, following), stretch[-1] - (count - 1 - k)))
        following = chosen[-1] + 1
    return chosen


def _distinct(times: Sequence[float], chosen: list[int]) -> list[int]:
    """Without those that fall into the same millisecond as the one before: a frame's id is its millisecond."""
    kept: list[int] = []
    for i in chosen:
        if not kept or round(times[i] * 1000) > round(times[kept[-1]] * 1000):
            kept.append(i)
    return kept
