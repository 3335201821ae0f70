# SPDX-License-Identifier: Apache-2.0
"""``python -m mtquant`` is the command ``mtquant``."""

from mtquant.cli.main import main

if __name__ == "__main__":
    main()
