# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import threading

import numba
import numpy as np
import pytest

from mtquant.core import compiled


@pytest.fixture(autouse=True)
def base(monkeypatch, tmp_path):
    """An empty place for caches; numba would read its own variable anew, so XDG's is set."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiled.cache_folder.cache_clear()
    yield tmp_path
    compiled.cache_folder.cache_clear()


def test_a_kernel_keeps_its_twin_and_divides_as_numpy():
    before = numba.config.CACHE_DIR

    @compiled.kernel
    def ratio(a, b):
        return a / b

    assert ratio(1.0, 4.0) == ratio.py_func(1.0, 4.0) == 0.25
    # IEEE 754: a division by zero gives infinity where Python raises.
    assert ratio(1.0, 0.0) == float("inf")
    assert before == numba.config.CACHE_DIR
    assert list(compiled.cache_folder().rglob("*.nbi"))


def test_the_cache_is_named_after_the_source_and_old_ones_go(base):
    root = base / "mtquant" / "kernels"
    for age in range(7):
        (root / f"old{age}").mkdir(parents=True)
        # Each older than the one before by a day, all past the day of grace.
        stamp = 1_500_000_000 - 86_400 * age
        os.utime(root / f"old{age}", (stamp, stamp))
    folder = compiled.cache_folder()
    assert folder == root / compiled.source_digest()
    kept = {path.name for path in root.iterdir()} - {folder.name}
    assert kept == {f"old{age}" for age in range(compiled.KEEP_CACHES)}


def test_where_nothing_can_be_written_kernels_still_compile(monkeypatch, base):
    (base / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(base / "file"))
    assert compiled.cache_folder() is None

    @compiled.kernel
    def twice(a):
        return 2.0 * a

    assert twice(3.0) == 6.0


def test_every_kernel_lies_where_the_digest_looks():
    found = {
        path.relative_to(compiled.PACKAGE).parts[0]
        for path in compiled.PACKAGE.rglob("*.py")
        if "@kernel" in path.read_text()
    }
    assert {"market", "risk", "rewards", "envs"} <= found <= set(compiled.KERNEL_PACKAGES)


def test_an_edited_helper_gives_another_digest(monkeypatch, base):
    package = base / "package"
    for name in compiled.KERNEL_PACKAGES:
        (package / name).mkdir(parents=True)
    helper = package / "market" / "helper.py"
    monkeypatch.setattr(compiled, "PACKAGE", package)
    digests = []
    for text in ("a = 1", "a = 2", "a = 1"):
        helper.write_text(text)
        compiled.source_digest.cache_clear()
        digests.append(compiled.source_digest())
    compiled.source_digest.cache_clear()
    assert digests[0] == digests[2] != digests[1]


def test_a_kernel_may_not_allocate():
    @compiled.kernel
    def fresh(n):
        return np.zeros(n)

    with pytest.raises(numba.core.errors.NumbaError):
        fresh(3)


def test_results_do_not_depend_on_the_order_of_a_loop_being_kept():
    """Fast arithmetic would sum pairwise; ours sums as Python does, term by term."""

    @compiled.kernel
    def total(values):
        result = 0.0
        for value in values:
            result += value
        return result

    values = np.random.Generator(np.random.PCG64(0)).normal(size=1000) * 1e8
    expected = 0.0
    for value in values.tolist():
        expected += value
    assert total(values) == expected


def test_kernels_are_saved_one_at_a_time():
    @compiled.kernel
    def half(a):
        return a / 2.0

    folder = compiled.cache_folder()
    with compiled.saving(folder):
        other = threading.Thread(target=half, args=(1.0,))
        other.start()
        other.join(3.0)  # it compiles in a fraction of that
        assert other.is_alive() and not list(folder.rglob("*.nb?"))
    other.join()
    assert len(list(folder.rglob("*.nb?"))) == 2  # index and code
