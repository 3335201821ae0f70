# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from mtquant.core.records import write_atomically


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
