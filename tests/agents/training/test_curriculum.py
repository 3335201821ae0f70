# SPDX-License-Identifier: Apache-2.0
"""When levels are left, what a scenario remembers, and what a checkpoint keeps."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.agents.training.curriculum import AdvancedCurriculumLearning
from mtquant.core.config import EnvironmentConfig, load_config
from mtquant.core.curriculum_config import FROM_EASY_TO_HARD, CurriculumConfig
from mtquant.core.errors import CheckpointError, ConfigError, DataError
from mtquant.core.seeding import SeedTree
from mtquant.core.telemetry import METRICS

SHARPE = "validation/sharpe"
CONFIG = CurriculumConfig(levels=5, patience=2, min_steps_per_level=100, max_steps_per_level=None)
Visit = tuple[int, float]


def curriculum(**changes: object) -> AdvancedCurriculumLearning:
    config = CurriculumConfig(**{**CONFIG.model_dump(), **changes})
    return AdvancedCurriculumLearning(config, SeedTree(3).child("curriculum"))


def live(own: AdvancedCurriculumLearning, visits: Sequence[Visit]) -> list[float]:
    """Difficulty after each (step, validation)."""
    found = []
    for step, score in visits:
        own.get_difficulty_level(step)
        found.append(own.update_curriculum({SHARPE: score}))
    return found


def test_two_passes_promote_and_two_failures_demote() -> None:
    visits = [(100, 1.0), (200, 1.0), (300, 1.0), (400, 1.0), (500, -1.0), (600, -1.0)]
    assert live(curriculum(), visits) == [0.0, 0.25, 0.25, 0.5, 0.5, 0.25]


def test_between_the_thresholds_nothing_moves() -> None:
    """And one value there, or one that is no number, breaks a row of passes."""
    assert live(curriculum(), [(100 * t, 0.0) for t in range(20)]) == [0.0] * 20
    for middle in (0.0, math.nan):
        visits = [(100, 1.0), (200, middle), (300, 1.0), (400, middle), (500, 1.0), (600, 1.0)]
        assert live(curriculum(), visits) == [0.0] * 5 + [0.25]


def test_a_level_lasts_its_least_number_of_steps() -> None:
    own = curriculum(min_steps_per_level=1_000)
    visits = [(250 * t, 2.0) for t in range(1, 10)]
    assert live(own, visits) == [0.0] * 3 + [0.25] * 4 + [0.5] * 2


def test_a_level_that_is_never_passed_ends_all_the_same() -> None:
    own = curriculum(max_steps_per_level=500)
    assert [own.get_difficulty_level(step) for step in (0, 499, 500, 999, 1_000)] == [
        0.0,
        0.0,
        0.25,
        0.25,
        0.5,
    ]
    # Asking about the past is no progress.
    assert own.get_difficulty_level(3) == 0.5
    assert own.get_difficulty_level(1_499) == 0.5


@given(
    scores=st.lists(st.floats(allow_nan=True), max_size=60),
    patience=st.integers(1, 4),
    least=st.integers(0, 400),
)
def test_levels_move_one_by_one_and_never_before_their_time(
    scores: list[float], patience: int, least: int
) -> None:
    own = curriculum(patience=patience, min_steps_per_level=least)
    found = [0.0, *live(own, [(100 * t, score) for t, score in enumerate(scores, start=1)])]
    moves = [t for t in range(1, len(found)) if found[t] != found[t - 1]]
    assert all(0.0 <= difficulty <= 1.0 for difficulty in found)
    assert all(abs(found[t] - found[t - 1]) == 0.25 for t in moves)
    apart = [later - earlier for earlier, later in zip([0, *moves], moves, strict=False)]
    assert all(gap >= patience and 100 * gap >= least for gap in apart)
    metrics = own.metrics()
    assert metrics["curriculum/promotions"] + metrics["curriculum/demotions"] == len(moves)


@given(
    scores=st.lists(st.sampled_from((-2.0, 0.0, 2.0)), min_size=2, max_size=40),
    cut=st.integers(0, 40),
)
def test_resumed_is_uninterrupted(scores: list[float], cut: int) -> None:
    visits = [(70 * t, score) for t, score in enumerate(scores)]

    def run(own: AdvancedCurriculumLearning, part: Sequence[Visit]) -> list[object]:
        return [
            own.generate_scenario(difficulty) for visit in part for difficulty in live(own, [visit])
        ]

    whole, first, second = curriculum(), curriculum(), curriculum()
    expected = run(whole, visits)
    found = run(first, visits[:cut])
    second.load_state(first.state())
    assert second.latest == first.latest
    assert found + run(second, visits[cut:]) == expected
    assert second.state() == whole.state()


def test_scenarios_differ_and_repeat_with_the_seed() -> None:
    own, again = curriculum(), curriculum()
    assert own.latest is None
    first, second = own.generate_scenario(0.5), own.generate_scenario(0.5)
    assert first.seeds != second.seeds
    assert dataclasses.replace(second, seeds=first.seeds) == first
    assert again.generate_scenario(0.5) == first
    assert own.latest == second
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.difficulty = 0.0  # type: ignore[misc]


def test_dials_lie_on_their_lines() -> None:
    own = AdvancedCurriculumLearning(CurriculumConfig(), SeedTree(0))
    config = own.config
    easy, middle, hard = (own.generate_scenario(d).dials for d in (0.0, 0.5, 1.0))
    for name in FROM_EASY_TO_HARD:
        dial = name if name != "volatility_factor" else "volatility"
        ends = getattr(config, name)
        assert (getattr(easy, dial), getattr(hard, dial)) == ends
        assert getattr(middle, dial) == pytest.approx(sum(ends) / 2)


def test_the_hardest_environment_is_the_configured_one() -> None:
    own, base = AdvancedCurriculumLearning(CurriculumConfig(), SeedTree(0)), EnvironmentConfig()
    assert own.generate_scenario(1.0).environment(base) == base
    easy = own.generate_scenario(0.0).environment(base)
    assert easy.cost_draw_range == (0.25, 1.0)
    assert easy.episode_length == 250


def test_metrics_are_in_the_dictionary() -> None:
    assert set(curriculum().metrics()) == {n for n in METRICS if n.startswith("curriculum/")}


def test_refusals() -> None:
    own = curriculum()
    with pytest.raises(DataError, match=r"difficulty_level must lie between 0 and 1; found 1\.5"):
        own.generate_scenario(1.5)
    with pytest.raises(DataError, match=r"must hold validation/sharpe.*found \['loss'\]"):
        own.update_curriculum({"loss": 1.0})
    with pytest.raises(CheckpointError, match="curriculum state must hold step, level"):
        own.load_state({"step": 1})
    with pytest.raises(CheckpointError, match="levels = 5 levels; found 5"):
        own.load_state({**own.state(), "level": 5})


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("jumps_a_year=[5, 1]", r"jumps_a_year must be .* not fall; found \[5.0, 1.0\]"),
        ("demote_below=0.5", "demote_below must be less than"),
        ("max_steps_per_level=10", "max_steps_per_level must not be less than"),
        ("breakdown=[0, 2]", "breakdown"),
        ("metric=sharpe", r"must be one of validation/sharpe, .*Did you mean validation/sharpe\?"),
        ("level=3", r"Did you mean training\.curriculum\.levels"),
    ],
)
def test_configurations_that_do_not_fit(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(None, [f"training.curriculum.{override}"])


def test_the_engine_sb3_has_no_curriculum() -> None:
    with pytest.raises(ConfigError, match=r"curriculum_learning must be false for the engine sb3"):
        load_config(None, ["training.engine=sb3", "training.curriculum_learning=true"])


def test_the_page_says_what_is_shipped() -> None:
    """Every key, and both ends of every dial."""
    page = Path(__file__).resolve().parents[3] / "docs" / "curriculum.md"
    text, config = page.read_text(encoding="utf-8"), CurriculumConfig()
    assert [key for key in CurriculumConfig.model_fields if f"`{key}`" not in text] == []
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) to ([\d.]+) \|", text, flags=re.MULTILINE)
    assert {name for name, *_ in rows} == set(FROM_EASY_TO_HARD)
    for name, easy, hard in rows:
        assert getattr(config, name) == (float(easy), float(hard))
    for key in ("levels", "patience", "promote_above", "demote_below", "mean_block_bars"):
        assert f"`{key}` ({getattr(config, key):g})" in text
    for key in ("min_steps_per_level", "max_steps_per_level"):
        assert f"`{key}` ({getattr(config, key):,})" in text
