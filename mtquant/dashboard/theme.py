# SPDX-License-Identifier: Apache-2.0
"""Colours and letters of the page, as Streamlit names them."""

from __future__ import annotations

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
ROOT_SIZE = 15  # pixels to a rem
LIGHT = {
    "backgroundColor": "#ffffff",
    "secondaryBackgroundColor": "#f5f7f9",
    "textColor": "#1b2026",
    "primaryColor": "#1f62b4",
    "borderColor": "#e1e4e8",
}
DARK = {
    "backgroundColor": "#14171b",
    "secondaryBackgroundColor": "#1c2026",
    "textColor": "#e6e9ec",
    "primaryColor": "#79b0f3",
    "borderColor": "#2c3138",
}
