# SPDX-License-Identifier: Apache-2.0
"""Workers: answers, errors, interrupts, and death with their parent."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from mtquant.core.errors import CheckpointError, MtquantError, WorkerError
from mtquant.core.processes import Workers
from tests.support.kills import Program


class Counter:
    """What the workers of these tests are asked."""

    def __init__(self, start: int) -> None:
        self.count = start

    def add(self, number: int) -> int:
        self.count += number
        return self.count

    def echo(self, array: np.ndarray) -> np.ndarray:
        return array

    def wait(self, seconds: float) -> int:
        time.sleep(seconds)
        return self.add(1)

    def fail(self, which: int) -> int:
        if self.count == which:
            raise ValueError("a number that nobody wants")
        return self.count

    def refuse(self) -> None:
        raise CheckpointError("folder", "must have room", "none", "Make some.")

    def note(self, what: str) -> None:
        logging.getLogger(f"mtquant.counters.{what}").info("%s at %d", what, self.count)
        logging.getLogger(f"mtquant.counters.{what}").debug("nobody asked")

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def refuse_to_build(which: int) -> Counter:
    if which == 1:
        raise KeyError("no such thing")
    return Counter(which)


def test_workers_answer_in_order_keep_what_they_know_and_survive_errors():
    with Workers(Counter, [(10,), (20,)]) as workers:
        assert len(workers) == 2
        assert workers.ask("add", 1) == [11, 21]
        assert workers.ask_each("add", [(5,), (7,)]) == [16, 28]
        large = np.arange(1_000_000)  # larger than a pipe holds
        assert all(np.array_equal(large, back) for back in workers.ask("echo", large))
        with pytest.raises(WorkerError, match=r"^worker 1 must not fail; found .*nobody wants"):
            workers.ask("fail", 28)
        with pytest.raises(WorkerError) as caught:
            workers.ask("fail", 28)
        assert "Traceback" in str(caught.value) and "test_processes.py" in str(caught.value)
        # Errors of ours come back as they are, with the worker's traceback as their cause.
        with pytest.raises(CheckpointError, match="must have room") as refused:
            workers.ask("refuse")
        assert "in refuse" in str(refused.value.__cause__)
        with pytest.raises(WorkerError, match="AttributeError"):
            workers.ask("nothing")
        # Both stand where they stood, and no late answer is taken for a new one.
        assert workers.ask("add", 0) == [16, 28]
        with pytest.raises(WorkerError, match=r"worker [01] must live.*exit code -9"):
            workers.ask_each("die", [(), ()])


def test_what_workers_log_is_handled_here_in_order_and_by_level(caplog):
    loud, quiet = (logging.getLogger(f"mtquant.counters.{name}") for name in ("loud", "quiet"))
    quiet.setLevel(logging.WARNING)
    with caplog.at_level(logging.INFO, loud.name), Workers(Counter, [(1,), (2,)]) as workers:
        workers.ask("note", "loud")
        workers.ask("note", "quiet")
        assert sorted(caplog.messages) == ["loud at 1", "loud at 2"]
        workers.ask("add", 1)
        assert len(caplog.messages) == 2  # each once


def test_a_worker_that_cannot_be_built_ends_them_all():
    before = threading.active_count()
    with pytest.raises(WorkerError, match=r"worker 1 must not fail.*no such thing"):
        Workers(refuse_to_build, [(0,), (1,)])
    with pytest.raises(MtquantError):
        Workers(refuse_to_build, [(1,)])
    assert threading.active_count() == before


# What is started in the background of a shell inherits that SIGINT is ignored.
PARENT = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from mtquant.core.processes import Workers
from tests.core.test_processes import Counter

if __name__ == "__main__":
    with Workers(Counter, [(0,), (1,)]) as workers:
        print("ready", flush=True)
        {body}
"""


def script(folder: Path, body: str) -> Program:
    """A program with two workers; a file, since spawned workers import it again."""
    file = folder / "parent.py"
    file.write_text(PARENT.format(body=body), encoding="utf-8")
    return Program((str(file),), folder)


# The harness fails where a process of the program is left.


def test_no_busy_worker_outlives_a_parent_that_was_killed(tmp_path):
    body = """
        import threading
        threading.Timer(0.3, os.kill, (os.getpid(), 9)).start()
        workers.ask("wait", 600)
    """
    assert script(tmp_path, body.strip()).run().killed


@pytest.mark.parametrize("way", ["die_with_parent(parent)", "watch_parent(parent, 0.05)"])
def test_both_ways_of_dying_with_the_parent(way, tmp_path):
    child = f"""
import os, sys, threading, time
from mtquant.core.processes import die_with_parent, watch_parent
parent = int(sys.argv[1])
threading.Thread(target=lambda: {way}, daemon=True).start() if "watch" in {way!r} else {way}
print("ready", flush=True)
time.sleep(600)
"""
    parent = f"""
import os, subprocess, sys
command = [sys.executable, "-c", {child!r}, str(os.getpid())]
process = subprocess.Popen(command, stdout=subprocess.PIPE)
process.stdout.readline()
os.kill(os.getpid(), 9)
"""
    assert Program(("-c", parent), tmp_path).run().killed


def test_a_child_whose_parent_is_gone_already_ends(tmp_path):
    code = "from mtquant.core.processes import die_with_parent; die_with_parent(-1); print('alive')"
    ended = Program(("-c", code), tmp_path).run()
    assert ended.killed and "alive" not in ended.stdout


def test_an_interrupt_is_the_parents_to_answer(tmp_path):
    """Ctrl-C goes to the whole group; the parent then still asks for the last state."""
    body = """
        import signal, threading
        threading.Timer(0.3, os.killpg, (os.getpgid(0), signal.SIGINT)).start()
        try:
            workers.ask("wait", 1.0)
        except KeyboardInterrupt:
            print("saved", workers.ask("add", 0), flush=True)
            raise SystemExit(130)
    """
    ended = script(tmp_path, body.strip()).run()
    assert (ended.code, ended.stdout.split("\n")[1]) == (130, "saved [1, 2]")
    assert ended.stderr == ""


def test_an_interrupt_that_nobody_catches_ends_workers_without_noise(tmp_path):
    body = """
        import signal, threading
        threading.Timer(0.3, os.killpg, (os.getpgid(0), signal.SIGINT)).start()
        workers.ask("wait", 600)
    """
    ended = script(tmp_path, body.strip()).run()
    assert ended.stderr.strip().endswith("KeyboardInterrupt")
    assert ended.stderr.count("Traceback") == 1
    assert ended.code == -signal.SIGINT
