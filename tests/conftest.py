# SPDX-License-Identifier: Apache-2.0
"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# No test asserts a wall-clock figure; the first example of a property may compile a kernel.
settings.register_profile("house", deadline=None)
settings.load_profile("house")
