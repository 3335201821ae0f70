# SPDX-License-Identifier: Apache-2.0
"""OANDA's v20 REST interface as a `Broker` (docs/oanda.md).

    os.environ: OANDA_API_TOKEN, OANDA_ACCOUNT_ID
    broker = oanda_broker(config.paper, instruments, rules.account_currency)

`client.py` asks over HTTP, `words.py` translates, `journal.py` reads the account's transactions,
`broker.py` answers the six questions of the protocol. What OANDA does is taken from its public
documentation, https://developer.oanda.com/rest-live-v20/.
"""
