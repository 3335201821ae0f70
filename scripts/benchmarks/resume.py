# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random moments of every phase, resume, and compare with a run that was left alone.

python scripts/benchmarks/resume.py            # 20 kills per phase
python scripts/benchmarks/resume.py --kills 5  # fewer
python scripts/benchmarks/resume.py --quick    # 1 per phase

Kills fall uniformly into the wall time of the training; every fourth one waits for a checkpoint
that is just being written. A run is killed, resumed, killed again and so on until it ends; then
another one begins, until the kills are used up. Phase 1 trains in two worker processes. Weights,
ledgers on the validation rows and TensorBoard curves have to be those of the run that nobody
disturbed.
"""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import common  # the folder of this script comes first on the path
import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

# isort: split

from mtquant.agents.training.session import FOLDER
from mtquant.learning.checkpoints import WRITING

KILLS = 20
SETTINGS = (
    "data.source=synthetic",
    "data.instruments=[EURUSD, GBPUSD, XAUUSD]",
    "data.synthetic.bars=1500",
    "training.n_envs=16",
    "training.n_steps=64",
    "training.batch_size=128",
    "training.n_epochs=2",
    "training.checkpoint_every_updates=1",
)
STEPS = {1: 40 * 1024, 2: 60 * 1024, 3: 40 * 1024}
PROGRAM = "from mtquant.cli.main import main; main()"
PATIENCE = 1800.0  # seconds that one run may take; the first one compiles


def start(
    phase: int, root: Path, before: Path, *, resume: bool, steps: int | None = None
) -> subprocess.Popen[bytes]:
    """A phase in a process of its own, below `root`; it begins with the models in `before`."""
    arguments = ["train", f"phase{phase}", "--timesteps", str(steps or STEPS[phase])]
    arguments += ["--output-dir", str(root / f"phase{phase}"), "--log-dir", str(logs(root, phase))]
    if phase == 1:
        arguments += ["--workers", "2"]
    else:
        flag = "--specialists" if phase == 2 else "--hierarchy"
        arguments += [flag, str(before / f"phase{phase - 1}")]
    for setting in SETTINGS:
        arguments += ["--set", setting]
    if resume:
        arguments.append("--resume")
    command = [sys.executable, "-c", PROGRAM, *arguments]
    with (root / "output.txt").open("ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)


def logs(root: Path, phase: int) -> Path:
    """Where a phase draws its curves."""
    return root / "logs" / f"phase{phase}"


def finish(process: subprocess.Popen[bytes], root: Path) -> None:
    """Waits for the end; an end in error shows what was printed."""
    if process.wait(PATIENCE) != 0:
        sys.exit((root / "output.txt").read_text()[-3_000:])


def kill(process: subprocess.Popen[bytes], folder: Path, after: float, *, writing: bool) -> bool:
    """Kill -9 after so many seconds; with `writing` at the next checkpoint that is being written.

    Returns:
        Whether it was still running.
    """
    time.sleep(after)
    while writing and process.poll() is None and not (folder / WRITING).exists():
        time.sleep(0.0002)
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return alive


def left_behind(root: Path, phase: int) -> dict[str, str]:
    """What a phase leaves: digests of weights and ledgers, and all points of all curves."""
    found = {}
    folder = root / f"phase{phase}"
    for file in sorted(folder.rglob("*")):
        if file.suffix in {".safetensors", ".npz", ".parquet"}:
            name = str(file.relative_to(folder))
            found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    for board in sorted({file.parent for file in logs(root, phase).rglob("*tfevents*")}):
        events = EventAccumulator(str(board), size_guidance={"scalars": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            if tag != "time/fps":
                points = [(point.step, point.value) for point in events.Scalars(tag)]
                found[f"{board.name}/{tag}"] = repr(points)
    return found


def differences(expected: Mapping[str, str], found: Mapping[str, str]) -> set[str]:
    """Names of what is not the same."""
    return {name for name in {*expected, *found} if expected.get(name) != found.get(name)}


def run_phase(
    phase: int, root: Path, kills: int, random: np.random.Generator
) -> tuple[int, int, bool]:
    """One phase left alone, and one that is killed: kills, of them inside a write, and equal."""
    calm, harried, warm = root / "calm", root / f"harried{phase}", root / f"warm{phase}"
    for folder in (calm, harried, warm):
        folder.mkdir(exist_ok=True)
    finish(start(phase, warm, calm, resume=False, steps=1), warm)  # compiles what is not yet
    started = time.perf_counter()
    finish(start(phase, calm, calm, resume=False), calm)
    length = time.perf_counter() - started
    expected = left_behind(calm, phase)
    done, inside, resume, differ = 0, 0, False, set[str]()
    while done < kills:
        process = start(phase, harried, calm, resume=resume)
        writing = done % 4 == 3 or kills == 1
        folder = harried / f"phase{phase}" / FOLDER
        if kill(process, folder, random.uniform(0.0, length), writing=writing):
            done, inside, resume = done + 1, inside + int(writing), True
            continue
        finish(process, harried)  # it had ended before: it is judged, and another one begins
        differ |= differences(expected, left_behind(harried, phase))
        shutil.rmtree(harried)
        harried.mkdir()
        resume = False
    finish(start(phase, harried, calm, resume=resume), harried)
    differ |= differences(expected, left_behind(harried, phase))
    print(
        f"phase {phase}: {length:.0f} s alone; killed {done} times, {inside} of them while a "
        f"checkpoint was written; {'equal' if not differ else f'different: {sorted(differ)[:5]}'}",
        flush=True,
    )
    return done, inside, not differ


def main() -> None:
    """Harries all three phases and says whether anything was lost."""
    parser = common.option_parser(__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=KILLS, help="per phase")
    arguments = parser.parse_args()
    print(common.machine(None))
    random = np.random.default_rng(arguments.seed)
    kills = 1 if arguments.quick else arguments.kills
    with tempfile.TemporaryDirectory() as folder:
        rows = [run_phase(phase, Path(folder), kills, random) for phase in STEPS]
    identical = all(equal for _, _, equal in rows)
    common.print_result(
        {
            "kills": sum(done for done, _, _ in rows),
            "kills_in_a_write": sum(inside for _, inside, _ in rows),
            "identical": identical,
        }
    )
    sys.exit(0 if identical else 1)


if __name__ == "__main__":
    main()
