"""Puts readings that were stamped late back to when they were taken.

After a moment without reception, a unit hands over what it kept: readings 0.04 s apart that were taken 0.2 s apart.
Speed integrated over such times is metres off.
"""

import numpy as np

from apex_pipeline.distance.arrays import Numbers

# A reading is on time within a quarter of the period: stamps are rounded to the unit's frame, a fifth of it. Less than
# 0.1 s is not worth the work.
_LATE_GAP = 1.25
_LEAST_LATE_S = 0.1
_BUNCHED_GAP = 0.75


def unbunched(times_s: Numbers) -> Numbers:
    """Return the times at which readings were taken.

    Readings that follow a gap closer together than the channel's period are moved back into the gap, one period apart
    and never before the reading ahead of the gap. All others keep their time.

    Args:
        times_s: Times of one channel's readings, sorted, shape (n,).
    """
    gaps = np.diff(times_s)
    distinct = gaps[gaps > 0]
    if len(distinct) < 2:  # noqa: PLR2004  -- two readings have no usual distance
        return times_s
    period = float(np.median(distinct))
    late = np.flatnonzero(gaps > max(_LATE_GAP * period, _LEAST_LATE_S))
    is_bunched = np.append(gaps < _BUNCHED_GAP * period, False)
    late = late[is_bunched[late + 1]]
    taken = times_s.copy()
    for gap in late.tolist():
        last = gap + 1 + int(np.argmin(is_bunched[gap + 1 :]))
        count = last - gap
        step = min(period, (times_s[last] - taken[gap]) / count)
        taken[gap + 1 : last + 1] = times_s[last] - step * np.arange(count - 1, -1, -1)
    return taken
