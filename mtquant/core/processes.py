# SPDX-License-Identifier: Apache-2.0
"""Worker processes: one object each, asked from here, that never outlive their parent.

    with Workers(build, [(0,), (1,)]) as workers:        # build(0) and build(1) in two processes
        answers = workers.ask("iterate", 16_384)         # [object.iterate(16_384) of each]

Processes are spawned, not forked: a fork copies locks that threads of torch and BLAS may hold. What
goes there and back is pickled, so `build` is a function of a module.

A worker dies with its parent, however that one ends: the kernel sees to it where it can (Linux,
`prctl(2)`, PR_SET_PDEATHSIG), and a thread that looks for the parent does elsewhere. Ctrl-C is the
parent's to answer, workers do not hear it: it may still ask them for a checkpoint before they end.

What a worker writes to a logger of mtquant travels with its next answer and is handled here.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from mtquant.core.errors import MtquantError, WorkerError

PR_SET_PDEATHSIG = 1  # linux/prctl.h
WATCH_SECONDS = 0.5
GRACE_SECONDS = 5.0
IDLE_SECONDS = 0.5


class Workers:
    """Worker processes, each around one object; a context manager.

    Start it in a thread that lasts: Linux takes the end of the thread that started a worker for the
    end of its parent.

    Args:
        build: Makes the object, in the worker.
        arguments: Of `build`, one tuple per worker.

    Raises:
        MtquantError: Raised by `build`, as it is.
        WorkerError: `build` failed otherwise, or a worker died.
    """

    def __init__(self, build: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> None:
        self._processes: list[Any] = []
        self._connections: list[Connection] = []
        self._due: set[int] = set()  # who owes an answer
        try:
            for own in arguments:
                self._start(pickle.dumps((build, own)))
            self._answers()
        except BaseException:
            self.close(IDLE_SECONDS)
            raise

    def __len__(self) -> int:
        return len(self._processes)

    def ask(self, method: str, *arguments: Any) -> list[Any]:
        """Calls a method of every worker's object with the same arguments; all answers in order."""
        return self.ask_each(method, [arguments] * len(self))

    def ask_each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Calls a method of every worker's object, each with arguments of its own.

        A call that was interrupted, by Ctrl-C or by the error of another worker, leaves the workers
        fit to be asked again: they finish it first, and its answers are dropped.

        Raises:
            MtquantError: Raised by the method, as it is; the worker's traceback is its cause.
            WorkerError: The method failed otherwise, or a worker died.
        """
        for _ in self._due_answers():
            pass
        for index, (connection, own) in enumerate(zip(self._connections, arguments, strict=True)):
            try:
                with _interrupts_held():  # half a question would spoil all that follow
                    connection.send((method, own))
                    self._due.add(index)
            except OSError:
                raise self._death(index) from None
        return self._answers()

    def close(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Ends the workers; those that are not done after `grace_seconds` are killed."""
        for connection in self._connections:
            connection.close()  # an idle worker reads the end of the line, and leaves
        deadline = time.monotonic() + grace_seconds
        for process in self._processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
        self._processes, self._connections, self._due = [], [], set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # After an error nobody waits for what a busy worker is about.
        self.close(GRACE_SECONDS if kind is None else IDLE_SECONDS)

    def _start(self, task: bytes) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        index = len(self._processes)
        process = context.Process(
            target=_work,
            args=(theirs, os.getpid(), task),
            name=f"mtquant worker {index}",
            daemon=True,
        )
        with _interrupts_held():
            process.start()
        theirs.close()
        self._processes.append(process)
        self._connections.append(ours)
        self._due.add(index)

    def _answers(self) -> list[Any]:
        """What every worker says to the latest question; raises the first error."""
        answers: dict[int, Any] = {}
        for index, (answer, error, trace) in self._due_answers():
            if trace is not None:
                failure = _failure(index, error, trace)
                if error is not None:
                    raise error from failure
                raise failure
            answers[index] = answer
        return [answers[index] for index in range(len(self))]

    def _due_answers(self) -> Iterator[tuple[int, tuple[Any, MtquantError | None, str | None]]]:
        """The answers that are still to come, as they come."""
        while self._due:
            ready = wait([self._connections[index] for index in self._due])
            for index in [index for index in self._due if self._connections[index] in ready]:
                try:
                    with _interrupts_held():  # nor may an answer be read by half
                        *message, records = self._connections[index].recv()
                        self._due.discard(index)
                except (EOFError, OSError):
                    raise self._death(index) from None
                for record in records:
                    logger = logging.getLogger(record.name)
                    if logger.isEnabledFor(record.levelno):
                        logger.handle(record)
                yield index, tuple(message)

    def _death(self, index: int) -> WorkerError:
        process = self._processes[index]
        process.join(GRACE_SECONDS)
        return WorkerError(
            f"worker {index}",
            "must live as long as it is needed",
            f"exit code {process.exitcode}",
            "A code of -9 is the system's answer to a lack of memory: use fewer workers.",
        )


def die_with_parent(parent: int) -> None:
    """Ends this process, by SIGKILL, when its parent ends.

    Args:
        parent: Process id of the parent.
    """
    if not _tell_kernel():
        threading.Thread(target=watch_parent, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it ended before the kernel was told
        os.kill(os.getpid(), signal.SIGKILL)


def watch_parent(parent: int, every_seconds: float = WATCH_SECONDS) -> None:
    """Looks whether the parent is still there until it is not, then ends this process."""
    while os.getppid() == parent:
        time.sleep(every_seconds)
    os.kill(os.getpid(), signal.SIGKILL)


def _tell_kernel() -> bool:
    """Asks Linux for a SIGKILL at the parent's end; False where there is nobody to ask."""
    if sys.platform != "linux":
        return False
    try:
        done = ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except (OSError, AttributeError):
        return False
    return bool(done == 0)


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Keeps Ctrl-C back until the end of the block, and from processes that start in it."""
    heard: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    # A process that starts inherits the mask but no handler. The mask alone would not do here:
    # another thread may take the signal, and Python answers it in the main thread all the same.
    handler = signal.signal(signal.SIGINT, lambda number, _: heard.append(number)) if main else None
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if heard:
            os.kill(os.getpid(), signal.SIGINT)


def _work(connection: Connection, parent: int, task: bytes) -> None:
    """A worker's life."""
    # Before the task is unpickled, which may import torch and take seconds.
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    made: list[Any] = []
    records = _records()

    def build() -> None:
        function, arguments = pickle.loads(task)
        made.append(function(*arguments))

    with contextlib.suppress(EOFError, OSError):  # the parent hung up
        _answer(connection, build, records)
        while made:
            method, arguments = connection.recv()
            _answer(connection, partial(_call, made[0], method, arguments), records)


def _call(owner: Any, method: str, arguments: tuple[Any, ...]) -> Any:
    return getattr(owner, method)(*arguments)


def _records() -> SimpleQueue[logging.LogRecord]:
    """Where everything that mtquant logs in this process ends up, from INFO on."""
    records: SimpleQueue[logging.LogRecord] = SimpleQueue()
    logger = logging.getLogger("mtquant")
    logger.addHandler(QueueHandler(records))
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return records


def _answer(
    connection: Connection, call: Callable[[], Any], records: SimpleQueue[logging.LogRecord]
) -> None:
    """Sends a call's answer, or its error and traceback, with what was logged meanwhile."""

    def content(answer: Any, error: MtquantError | None, trace: str | None) -> bytes:
        logged = [records.get_nowait() for _ in range(records.qsize())]
        return pickle.dumps((answer, error, trace, logged))

    try:
        sent = content(call(), None, None)
    except MtquantError as error:
        sent = content(None, error, traceback.format_exc())
    except Exception:
        sent = content(None, None, traceback.format_exc())
    connection.send_bytes(sent)


def _failure(index: int, error: MtquantError | None, trace: str) -> WorkerError:
    found = trace.strip().splitlines()[-1] if error is None else type(error).__name__
    return WorkerError(f"worker {index}", "must not fail", found, f"Its traceback:\n{trace}")
