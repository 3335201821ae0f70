# SPDX-License-Identifier: Apache-2.0
"""What a search varies: texts that are read, texts that are refused, and what comes out of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core.config import load_config
from mtquant.core.errors import ConfigError
from mtquant.workflows.search_space import (
    Choices,
    Range,
    candidate_config,
    check_space,
    grid_points,
    grid_size,
    parse_dimension,
    random_point,
)

KEY = "training.learning_rate"


def test_values_are_read_as_the_config_reads_them() -> None:
    found = parse_dimension(f"{KEY} = [1e-4, 3e-4]")
    assert found == Choices(KEY, (1e-4, 3e-4))
    layers = parse_dimension("training.hidden_units=[[32, 32], [64]]")
    assert layers == Choices("training.hidden_units", ([32, 32], [64]))
    catalogs = parse_dimension("features.catalog=[[log_return_1], [log_return_1, volatility_60]]")
    config = candidate_config(load_config(None), {catalogs.key: catalogs.grid()[1]})
    assert config.features.catalog == ("log_return_1", "volatility_60")
    assert parse_dimension("training.target_kl=[null, 0.03]").grid() == (None, 0.03)


def test_ranges_are_read() -> None:
    assert parse_dimension(f"{KEY}=log:1e-4:1e-2") == Range(KEY, "log", 1e-4, 1e-2)
    assert parse_dimension(f"{KEY}=linear:0:1:3").grid() == (0.0, 0.5, 1.0)
    assert parse_dimension("training.n_epochs=int:2:5").grid() == (2, 3, 4, 5)
    assert parse_dimension("training.n_epochs=int:1:100:3").grid() == (1, 50, 100)
    logs = parse_dimension(f"{KEY}=log:1e-4:1e-2:3").grid()
    np.testing.assert_allclose(logs, [1e-4, 1e-3, 1e-2], rtol=1e-12)
    assert (logs[0], logs[-1]) == (1e-4, 1e-2)  # the ends are exact


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("training.gamma", "must read section.key=values"),
        ("gamma=[0.9]", "must read section.key=values"),
        ("training.gamma=0.9", "must list values or name a range"),
        ("training.gamma=[]", "must list values or name a range"),
        ("training.gamma=[0.9", "must be a YAML list"),
        (f"{KEY}=log:1e-4", "must read scale:low:high"),
        (f"{KEY}=log:a:b", "must read scale:low:high"),
        (f"{KEY}=log:0:1", "must begin above 0"),
        (f"{KEY}=log:1:1e-4", "must run from low to high"),
        (f"{KEY}=linear:0:inf", "must run from low to high"),
        (f"{KEY}=linear:0:1:1", "must have two points or more"),
        (f"{KEY}=linear:0:1:2:3", "must have three or four parts"),
        ("training.n_epochs=int:0.5:2", "must have whole ends"),
        ("data.train_frac=[0.5, 0.6]", "must leave candidates comparable.*search once for each"),
        ("training.seed=[1, 2]", "must leave candidates comparable.*--seeds"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"(?i){said}"):
        parse_dimension(text)


@pytest.mark.parametrize(
    ("texts", "grid", "said"),
    [
        ([], False, "must name a config key to vary"),
        (["training.gamma=[0.9]", "training.gamma=[0.8]"], False, "must name a key once"),
        (["training.gama=[0.9]"], False, "Did you mean training.gamma"),
        (["training.gamma=[0.9, 2.0]"], False, "training.gamma must be less than or equal to 1"),
        (["training.gamma=linear:0.9:1.1"], False, "less than or equal to 1"),
        ([f"{KEY}=log:1e-4:1e-2"], True, r"how many numbers a grid tries.*log:0.0001:0.01:5"),
        (
            ["training.recommended.gamma=[0.9]"],
            False,
            "has no effect while training.preset is spec",
        ),
    ],
)
def test_a_space_is_checked_before_any_work(texts: list[str], grid: bool, said: str) -> None:
    dimensions = [parse_dimension(text) for text in texts]
    with pytest.raises(ConfigError, match=f"(?s){said}"):
        check_space(load_config(None), dimensions, grid)


def test_a_grid_is_every_combination() -> None:
    dimensions = [parse_dimension("training.gamma=[0.9, 0.99]"), parse_dimension("a.b=[1, 2, 3]")]
    points = list(grid_points(dimensions))
    assert len(points) == grid_size(dimensions) == 6
    assert points[0] == {"training.gamma": 0.9, "a.b": 1}
    assert points[1] == {"training.gamma": 0.9, "a.b": 2}
    assert len({tuple(point.items()) for point in points}) == 6


@given(
    low=st.floats(1e-6, 1.0),
    factor=st.floats(1.5, 1e4),
    seed=st.integers(0, 2**32),
    scale=st.sampled_from(("log", "linear")),
)
def test_draws_lie_in_their_range(low: float, factor: float, seed: int, scale: str) -> None:
    dimension = parse_dimension(f"a.b={scale}:{low}:{low * factor}")
    whole = parse_dimension("a.c=int:2:4")
    random = np.random.Generator(np.random.PCG64(seed))
    for _ in range(20):
        drawn = random_point([dimension, whole], random)
        assert low <= drawn["a.b"] <= low * factor
        assert drawn["a.c"] in (2, 3, 4)


def test_draws_are_uniform_in_the_logarithm() -> None:
    dimension = parse_dimension("a.b=log:1e-4:1e-2")
    random = np.random.Generator(np.random.PCG64(0))
    drawn = np.array([dimension.draw(random) for _ in range(2_000)])
    # Half lie below the geometric mean; the standard deviation of that share is 0.011.
    assert abs(float((drawn < 1e-3).mean()) - 0.5) < 0.045
