# SPDX-License-Identifier: Apache-2.0
"""Language models: the same as `mtquant llm`.

python scripts/train_llm.py pipeline --demo
python scripts/train_llm.py train --algorithm grpo --stage stage1
"""

from mtquant.cli.llm_commands import llm_app
from mtquant.cli.main import run_app

if __name__ == "__main__":
    run_app(llm_app)
