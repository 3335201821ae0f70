# SPDX-License-Identifier: Apache-2.0
"""The script that Streamlit runs for every reader; `server.py` starts it."""

import sys

from mtquant.dashboard.asked import Asked
from mtquant.dashboard.page import draw

draw(Asked.from_text(sys.argv[1]))
