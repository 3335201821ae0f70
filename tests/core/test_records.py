# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core.errors import RunError
from mtquant.core.records import append_row, read_rows, write_atomically


def test_the_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "card.json"
    for text in ("old", "new"):
        write_atomically(path, lambda file, text=text: file.write_text(text))
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "card.json"
    path.write_text("old")

    def half(file):
        file.write_text("ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, half)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_writer_sees_the_suffix(tmp_path):
    seen = []
    write_atomically(tmp_path / "a.parquet", lambda file: seen.append(file) or file.touch())
    assert seen[0].suffix == ".parquet" and seen[0].parent == tmp_path


def test_rows_are_added_and_read(tmp_path):
    path = tmp_path / "rows.jsonl"
    assert read_rows(path) == []
    rows = [{"a": 1}, {"a": 2.5, "b": [None, "x\n"]}]
    for row in rows:
        append_row(path, row)
    assert read_rows(path) == rows
    assert path.read_bytes().count(b"\n") == 2


@given(cut=st.integers(0, 30))
def test_a_row_that_was_cut_short_spoils_no_other(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    append_row(path, {"number": 1})
    whole = path.read_bytes()
    append_row(path, {"number": 2})
    path.write_bytes(path.read_bytes()[: len(whole) + cut])
    append_row(path, {"number": 3})
    numbers = [row["number"] for row in read_rows(path)]
    assert numbers in ([1, 3], [1, 2, 3])
    assert (2 in numbers) == (cut >= len(whole) - 1)  # all but its line's end


def test_a_number_that_json_has_not_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_row(tmp_path / "rows.jsonl", {"a": float("nan")})
    assert not (tmp_path / "rows.jsonl").exists()


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "rows.jsonl").mkdir()
    with pytest.raises(RunError, match=r"rows\.jsonl must be a writable file"):
        append_row(tmp_path / "rows.jsonl", {})
    with pytest.raises(RunError, match=r"rows\.jsonl must be a readable file"):
        read_rows(tmp_path / "rows.jsonl")
