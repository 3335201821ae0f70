# SPDX-License-Identifier: Apache-2.0
"""Bars of Yahoo Finance: downloaded with yfinance, kept as traded, adjusted by ourselves.

    downloader = YahooDownloader(Path("data/yahoo"))            # mtquant.data.yahoo.download
    (update,) = downloader.update_all([instruments["SPX500"]], "1d", start=date(2010, 1, 1))
    bars = yahoo_bars(Path("data/yahoo"), instruments["SPX500"], "1d")

`transport` asks Yahoo, `retry` asks again, `frames` reads an answer, `cache` keeps it, `revisions`
compares it with what was kept, `gaps` says what is missing and `download` puts them together.
`docs/data-yahoo.md` says what Yahoo's numbers mean. Whatever Yahoo sends is untrusted: it is
checked, and its texts are cut before anybody sees them.
"""
