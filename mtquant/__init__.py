# SPDX-License-Identifier: Apache-2.0
"""mtquant: a hierarchy of trading agents on one execution model.

    from pathlib import Path
    from mtquant.core.config import load_config

    config = load_config(Path("config/agents.yaml"), ["training.seed=3"])

Importing this package loads nothing else; take what you need from its parts.
"""

__version__ = "0.1.0"
