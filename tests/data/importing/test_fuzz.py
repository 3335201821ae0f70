# SPDX-License-Identifier: Apache-2.0
"""Files made dirty on purpose: each is repaired with the right counts, or refused with its place.

`scripts/benchmarks/importer.py` runs thousands of them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtquant.core.errors import DataError
from mtquant.data.bars import check_bars
from mtquant.data.importing.reader import import_file
from tests.support.dirt import (
    MUTATIONS,
    REPAIR,
    SOURCE,
    clean_file,
    dirty_file,
    judge,
    some_mutations,
    spoil,
)

FILES = 150


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_each_kind_of_dirt_alone(mutation, tmp_path: Path) -> None:
    for seed in range(3):
        assert judge(tmp_path / "file.csv", dirty_file(generator(seed), [mutation])) == []


def test_kinds_of_dirt_together(tmp_path: Path) -> None:
    for seed in range(FILES):
        draws = generator(1_000 + seed)
        file = dirty_file(draws, some_mutations(draws, len(MUTATIONS)))
        assert judge(tmp_path / "file.csv", file) == [], f"seed {1_000 + seed}"


def test_bytes_spoiled_at_random_are_refused_or_give_clean_bars(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    refused = 0
    for seed in range(FILES):
        draws = generator(seed)
        path.write_bytes(spoil(clean_file(draws).text().encode(), draws))
        try:
            imported = import_file(path, SOURCE, REPAIR)
        except DataError as error:
            refused += 1
            assert error.field.startswith(str(path)) and error.remedy
        else:
            check_bars(imported.bars)
            report = imported.report
            dropped = sum(finding.dropped for finding in report.findings)
            assert report.rows_read - dropped == report.rows_kept == len(imported.bars)
    assert 0 < refused < FILES


@settings(max_examples=100)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_refused_by_name(content: bytes, tmp_path_factory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as raised:
        import_file(path, SOURCE, REPAIR)
    assert str(path) in raised.value.field


@settings(max_examples=100)
@given(rows=st.lists(st.text(alphabet="0123456789,.-:; \"'\tT\r\nNae", max_size=60), max_size=8))
def test_any_text_behind_a_header_is_refused_or_gives_clean_bars(rows, tmp_path_factory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text("time,open,high,low,close\n" + "\n".join(rows), encoding="utf-8", newline="")
    try:
        check_bars(import_file(path, SOURCE, REPAIR).bars)
    except DataError as error:
        assert str(path) in error.field
