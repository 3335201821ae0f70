# SPDX-License-Identifier: Apache-2.0
"""Is it an edge or luck? One file per question; `docs/evaluation.md` tells them apart.

    from mtquant.evaluation.significance.bootstrap import sharpe_estimate
    from mtquant.evaluation.significance.deflation import deflated_sharpe
    from mtquant.evaluation.significance.tried import Tried

    found = sharpe_estimate(returns, periods_per_year, seed=0)     # the ratio with its interval
    tried = Tried.of(TrialLedger.beside(models))                   # how many were looked at
    if tried is not None:
        luck_ruled_out = deflated_sharpe(found, skewness, kurtosis, tried.effective)

| file | question |
|---|---|
| `bootstrap` | how far could the Sharpe ratio have come out otherwise? |
| `deflation` | is it above what the best of so many tries shows by luck? |
| `tried` | how many tries were there really, given that they resemble each other? |
| `overfitting` | does what was best in one half of the time stay good in the other? |
| `superiority` | is any of these better than the benchmark, which, and which are among the best? |
| `seeds` | what do several training seeds show together? |
| `exceedances` | was the value at risk exceeded as often as it says, and not in clusters? |
"""
