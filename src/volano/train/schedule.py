"""How the learning rate goes over a run, as a factor on its peak."""

import math
from typing import Literal


def rate_factor(
    step: int,
    steps: int,
    *,
    schedule: Literal["wsd", "cosine", "constant"],
    warmup_fraction: float,
    decay_fraction: float,
) -> float:
    """The factor at a step counted from 0, in (0, 1].

    Warm-up rises linearly and reaches 1 on its last step. `wsd` stays there until its last
    `decay_fraction` of the steps and then falls linearly, to zero one step after the end (so
    that the last step still learns); `cosine` falls from the end of warm-up, to zero at the same
    place. Where warm-up and decay overlap, the smaller factor holds.

    Sources: Hu et al. 2024 (MiniCPM) for WSD; Bergsma et al. 2025 for linear decay to zero.
    """
    warmup_steps = round(warmup_fraction * steps)
    rising = (step + 1) / warmup_steps if step < warmup_steps else 1.0
    left = steps - step
    if schedule == "constant":
        return rising
    if schedule == "cosine":
        share_left = min(1.0, left / max(steps - warmup_steps, 1))
        return min(rising, 0.5 - 0.5 * math.cos(math.pi * share_left))
    decay_steps = round(decay_fraction * steps)
    return min(rising, left / decay_steps if left < decay_steps else 1.0)
