# SPDX-License-Identifier: Apache-2.0
"""Compiles the kernels before the first test, so that no property is timed while it compiles."""

from __future__ import annotations

import pytest

from tests.features.samples import EVERY_KIND, exact_values, features_of, pipeline_of
from tests.support.builders import make_bars


@pytest.fixture(scope="session", autouse=True)
def compiled_kernels() -> None:
    bars = make_bars(n=3)
    features_of(pipeline_of(EVERY_KIND), bars)
    for name in EVERY_KIND:
        exact_values(name, bars)
