# SPDX-License-Identifier: Apache-2.0
"""How long until an instrument's session closes, by the clock on its wall."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from mtquant.data.bars import NANOSECONDS, Float, Stamps
from mtquant.data.instruments import Session

DAY_SECONDS = 86_400


def seconds_to_close(stamps: Stamps, session: Session) -> Float:
    """Seconds from each stamp to the next time the session's wall clock shows its close.

    Whole seconds, 0 at the close itself. A change of the clock in between is not counted: twice a
    year the figure is an hour off during one session.

    Args:
        stamps: int64 [T], UTC nanoseconds since 1970, increasing.
        session: The instrument's session.

    Returns:
        float64 [T], in 0..86,400.
    """
    hours, minutes = session.close.split(":")
    close = int(hours) * 3_600 + int(minutes) * 60
    zone = ZoneInfo(session.timezone)
    if len(stamps) == 1:  # the stream's way, many times faster for one
        moment = datetime.fromtimestamp(int(stamps[0]) // NANOSECONDS, UTC).astimezone(zone)
        local = np.array([moment.hour * 3_600 + moment.minute * 60 + moment.second])
    else:
        moments = pd.DatetimeIndex(stamps.astype("datetime64[ns]")).tz_localize("UTC")
        wall = moments.tz_convert(zone).tz_localize(None)
        local = wall.as_unit("ns").asi8 // NANOSECONDS
    return ((close - local) % DAY_SECONDS).astype(np.float64)
