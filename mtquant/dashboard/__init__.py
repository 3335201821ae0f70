# SPDX-License-Identifier: Apache-2.0
"""A web page over paper ledgers and run folders that cannot change either.

    mtquant dashboard --ledger data/paper/paper.sqlite --runs models

`accounts`, `curves`, `tables`, `limits`, `minds`, `runs` and `backtests` read (files to frames, no
Streamlit); `figures` draws; `views` and `page` put both on the page; `server` serves it.
"""
