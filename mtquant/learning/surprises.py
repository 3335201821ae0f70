# SPDX-License-Identifier: Apache-2.0
"""What nobody foresaw: most of a reward is the market's luck, and luck teaches nothing.

The next return is a forecast and a surprise. Given all that is known when an exposure is chosen, a
surprise has mean 0, whatever the exposure, as long as the forecast is the conditional mean. So
rewards less exposure x surprise have the advantages that rewards have, with a small part of their
variance: a control variate made of martingale differences. Where the forecast is wrong, the policy
learns from the forecast instead of from returns: bias for variance, until the forecast is right.

It rests on prices that do not answer to the account's own trades, as the desk has it.

Sources: Henderson & Glynn 2002, "Approximating martingales for variance reduction in Markov process
simulation", sec. 3; Mao et al. 2019, "Variance reduction for reinforcement learning in input-driven
environments".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def surprises(held: Array, came: Array, foreseen: Array) -> Array:
    """What the next bar brings beyond what was foreseen.

    Args:
        held: What is gained per unit of `came`, known before it.
        came: The next return, NaN where there is none.
        foreseen: Its forecast.

    Returns:
        held x (came - foreseen), 0 where nothing came; shapes are broadcast.
    """
    found: Array = np.where(np.isnan(came), 0.0, held * (came - foreseen))
    return found
