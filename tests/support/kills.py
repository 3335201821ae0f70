# SPDX-License-Identifier: Apache-2.0
"""Programs that are killed, at moments of the clock or of their file operations, and started again.

    program = Program(("-m", "mtquant", "train", "phase1"), folder=root)
    program.run(kill_after=1.5)                                   # kill -9 after 1.5 seconds
    program.run(faults=Faults("kill", "/checkpoints/", at=7))     # before the 7th file operation
    program.run(faults=Faults("slow", "/checkpoints/", seconds=0.2), kill_after=1.0)
    program.run()                                                 # to the end

A kill is SIGKILL, to the program's first process alone. Every run is a session of its own, and
`run` comes back when none of its processes is left: workers that outlive their parent are an error.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[2]
FAULTS_FOLDER = Path(__file__).parent / "faults"
PLAN = "MTQUANT_TEST_FAULTS"
SURVIVORS_SECONDS = 20.0  # for dying with the parent; a second does where the machine is not busy


@dataclass(frozen=True)
class Faults:
    """What happens at file operations that write, rename, make or remove something whose path holds
    `path`; numbered from 1 over all processes of the program.

    Attributes:
        kind: ``"kill"``: the process is killed before operation `at`; ``"tear"``: and a file that
            was about to be synced loses its second half, as after a power cut; ``"full"``: the disk
            is full from operation `at` on; ``"slow"``: each one waits, so that a kill by the clock
            falls inside; ``"watch"``: nothing, the operations are counted.
        path: Part of the paths that count.
        at: Number of the operation.
        seconds: What a slow one waits.
    """

    kind: Literal["kill", "tear", "full", "slow", "watch"]
    path: str
    at: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        killed: By SIGKILL, whether from here or by its own fault.
        code: Its return code.
        stdout, stderr: What it said.
        operations: The file operations that counted, one line each: event and paths.
    """

    killed: bool
    code: int
    stdout: str
    stderr: str
    operations: tuple[str, ...]


@dataclass(frozen=True)
class Program:
    """A Python program.

    Attributes:
        arguments: Behind the interpreter's name: ``("-c", code)``, ``("-m", module, ...)``.
        folder: Where it runs.
        environment: Added to ours.
    """

    arguments: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(
        self,
        faults: Faults | None = None,
        kill_after: float | None = None,
        timeout: float = 600.0,
    ) -> Ended:
        """Runs the program to its end, or to its kill after `kill_after` seconds.

        Raises:
            AssertionError: A process outlived it.
            subprocess.TimeoutExpired: It hangs; it was killed.
        """
        with tempfile.TemporaryDirectory() as aside:
            log = Path(aside) / "operations"
            with self._start(faults, log) as process:
                killed_here = False
                try:
                    out, err = process.communicate(timeout=kill_after or timeout)
                except subprocess.TimeoutExpired:
                    process.kill()
                    killed_here = kill_after is not None
                    out, err = self._last_words(process)
                    if not killed_here:
                        raise
                finally:
                    require_nobody_left(process.pid)
            lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        killed = killed_here or process.returncode == -signal.SIGKILL
        return Ended(killed, process.returncode, out, err, tuple(lines))

    def _start(self, faults: Faults | None, log: Path) -> subprocess.Popen[str]:
        paths = [str(ROOT)]
        environment = {**os.environ, **self.environment}
        if faults is not None:
            paths.insert(0, str(FAULTS_FOLDER))
            environment[PLAN] = json.dumps({**asdict(faults), "log": str(log)})
        if environment.get("PYTHONPATH"):
            paths.append(environment["PYTHONPATH"])
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        return subprocess.Popen(
            [sys.executable, *self.arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @staticmethod
    def _last_words(process: subprocess.Popen[str]) -> tuple[str, str]:
        """What a killed program said; nothing where a survivor keeps its pipes open."""
        try:
            return process.communicate(timeout=SURVIVORS_SECONDS)
        except subprocess.TimeoutExpired:
            return "", ""

    def kill_at_every_operation(
        self, path: str, kind: Literal["kill", "tear"] = "kill", step: int = 1
    ) -> Iterator[Ended]:
        """Runs the program again and again, killed before file operation 1, 1 + `step`, ..., until
        it gets to its end; yields after every kill, so that the caller can check what is left.

        Whoever calls puts back what the program began with, or lets it go on from what is there.
        """
        number = 1
        while (ended := self.run(Faults(kind, path, at=number))).killed:
            yield ended
            number += step
        yield ended


def require_nobody_left(group: int) -> None:
    """Waits until no process of a process group is left.

    Raises:
        AssertionError: Some outlived the program; they were killed.
    """
    deadline = time.monotonic() + SURVIVORS_SECONDS
    while time.monotonic() < deadline:
        if not living(group):
            return
        time.sleep(0.02)
    left = living(group)
    os.killpg(group, signal.SIGKILL)
    raise AssertionError(f"processes {left} outlived the program that started them")


def living(group: int) -> list[int]:
    """Processes of a group that are neither gone nor zombies nobody has waited for."""
    done = subprocess.run(["ps", "-A", "-o", "pid=,pgid=,stat="], capture_output=True, text=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    return [int(pid) for pid, own, state in rows if int(own) == group and not state.startswith("Z")]
