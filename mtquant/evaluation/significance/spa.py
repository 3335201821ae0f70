# SPDX-License-Identifier: Apache-2.0
"""arch's test of superior predictive ability, for series as long as years of hourly bars."""

from __future__ import annotations

from arch.bootstrap import SPA

from mtquant.evaluation.significance.superiority import long_run_deviation


class LongSPA(SPA):
    """`arch.bootstrap.SPA` (arch 8.0.0), which adds up autocovariances lag by lag: T passes over T
    rows, some minutes for 40,000. A Fourier transform gives the same sums at once; a test compares
    the two.
    """

    def _compute_variance(self) -> None:
        self._loss_diff_var = long_run_deviation(self._loss_diff, self.block_size) ** 2
