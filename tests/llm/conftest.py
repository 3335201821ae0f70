# SPDX-License-Identifier: Apache-2.0
"""One tiny untrained model for all tests of training, and a toy reward that it can learn."""

from __future__ import annotations

import os

# Before any import of transformers: nothing may reach for a network, and one thread is enough.
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    TOKENIZERS_PARALLELISM="false",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
)

from importlib.util import find_spec

import pytest

# Those that train need the extra; without it they are not even collected.
if find_spec("trl") is None:
    names = ("generation", "kill", "models", "pipeline", "ppo", "tokenizer", "trl")
    collect_ignore = [f"test_{name}.py" for name in names]

from tests.support.nano import make_toy_run


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory):
    """Folder of an untrained ``mtquant-nano`` and its tokenizer."""
    return make_toy_run(tmp_path_factory.mktemp("nano"))


@pytest.fixture(autouse=True)
def one_thread():
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
