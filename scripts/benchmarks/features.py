# SPDX-License-Identifier: Apache-2.0
"""How fast features are, as a batch and as a stream, beside `ta`. Read docs/benchmarks.md.

    python scripts/benchmarks/features.py            # a few minutes, most of them in ta
    python scripts/benchmarks/features.py --quick    # under 30 s behind the compilation

Nothing is timed before the stream has given the same bytes as the batch, and our indicators, which
come as float32, the values of ta (the tests compare them in float64, to 1e-9). The last line is
RESULT and JSON.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import common  # before NumPy and Numba: one thread each; ours are Python's
import numpy as np

from mtquant.data.bars import Bars
from mtquant.data.instruments import load_instruments
from mtquant.features.catalog import CATALOG, FAMILY_OF, default_name, parse_feature
from mtquant.features.pipeline import FeaturePipeline
from tests.support.builders import make_bars
from tests.support.ta_features import TA_FEATURES

PEER = "SPX500"
BARS = 60_000
TOLERANCE = 1e-7  # of ours against ta; float32 is good to 6e-8 of the value
TARGET_SECONDS = 0.5
TARGET_STREAM_US = 1_000.0


def main(arguments: argparse.Namespace) -> int:
    instruments = load_instruments()
    sessions = {symbol: instrument.session for symbol, instrument in instruments.items()}
    names = [default_name(kind, PEER) for kind in CATALOG]
    everything = FeaturePipeline(names, sessions=sessions)
    bars = _bars(list(instruments), BARS, arguments.seed)
    kernels_counted = len({(FAMILY_OF[name], kind.code) for name, kind in CATALOG.items()})
    print(f"machine: {common.machine(None)}, {_cores()} usable")
    print(
        f"{len(bars)} instruments x {BARS:,} hourly bars, {len(names)} features of "
        f"{kernels_counted} kernels, longest warm-up {everything.warmup_bars} bars"
    )
    start = time.perf_counter()
    everything.compute_all([own.rows(slice(0, 10)) for own in bars])
    compilation = time.perf_counter() - start
    print(f"compilation, or loading what was compiled before: {compilation:.1f} s")

    checked = 1_500 if arguments.quick else 6_000
    if not _stream_is_batch(everything, [own.rows(slice(0, checked)) for own in bars]):
        return 1
    same = [own.rows(slice(0, checked)) for own in bars[:1]] if arguments.quick else bars
    compared = FeaturePipeline(list(TA_FEATURES))
    ta_seconds, worst = _ta(same, compared)
    print(f"largest difference from ta: {worst:.1e} of max(1, value)")
    if worst > TOLERANCE:
        return 1

    rounds = 5 if arguments.quick else 25
    busy = time.process_time()
    batch = _times(lambda: everything.compute_all(bars), rounds)
    busy = (time.process_time() - busy) / (rounds + 1)
    single = _times(lambda: [everything.compute(own, bars) for own in bars], max(3, rounds // 5))
    ours = _times(lambda: [compared.compute(own) for own in same], rounds)
    stream = _stream_times(everything, bars, 500 if arguments.quick else 3_000)
    figures = {
        "seconds": statistics.median(batch),
        "seconds_best": min(batch),
        "seconds_one_thread": statistics.median(single),
        "cpu_seconds": busy,
        "threads": min(len(bars), _cores()),
        "features": len(names),
        "kernels": kernels_counted,
        "ta_indicators": len(TA_FEATURES),
        "ta_seconds": ta_seconds,
        "vs_ta": ta_seconds / statistics.median(ours),
        "stream_us": 1e6 * statistics.median(stream),
        "stream_us_99": 1e6 * float(np.quantile(stream, 0.99)),
        "stream_equals_batch": True,
        "compilation_seconds": compilation,
    }
    _show(figures, len(same), len(same[0]))
    common.print_result(figures)
    return 0


def _bars(symbols: Sequence[str], count: int, seed: int) -> list[Bars]:
    """Random walks with gaps, wicks and missing hours."""
    return [
        make_bars(symbol, n=count, seed=seed * 1_000 + i, gap=0.0005, missing_frac=0.1)
        for i, symbol in enumerate(symbols)
    ]


def _stream_is_batch(pipeline: FeaturePipeline, bars: Sequence[Bars]) -> bool:
    """Whether every instrument's stream gives the bytes of its batch."""
    equal = True
    for own, rows in zip(bars, pipeline.compute_all(bars), strict=True):
        stream = pipeline.stream(own.symbol)
        closes = _peer_closes(own, bars)
        streamed = [
            stream.update(*bar, peers={PEER: close})
            for bar, close in zip(_tuples(own), closes, strict=True)
        ]
        same = np.array(streamed).tobytes() == rows.tobytes()
        equal = equal and same
        if not same:
            print(f"{own.symbol}: the stream differs from the batch")
    print(f"stream equals batch over {len(bars)} x {len(bars[0]):,} bars: {equal}")
    return equal


def _tuples(bars: Bars) -> list[tuple[float, ...]]:
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume, bars.stamps)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _peer_closes(own: Bars, bars: Sequence[Bars]) -> list[float]:
    """The peer's last close at each stamp of an instrument."""
    peer = next(other for other in bars if other.symbol == PEER)
    rows = np.searchsorted(peer.stamps, own.stamps, side="right") - 1
    return [float(peer.close[row]) if row >= 0 else np.nan for row in rows]


def _ta(bars: Sequence[Bars], pipeline: FeaturePipeline) -> tuple[float, float]:
    """Seconds that ta takes for its indicators, and how far ours are from them."""
    seconds, worst = 0.0, 0.0
    for own in bars:
        frame, rows = own.to_frame(), pipeline.compute(own)
        for f, (name, maker) in enumerate(TA_FEATURES.items()):
            start = time.perf_counter()
            theirs = maker(frame).to_numpy()
            seconds += time.perf_counter() - start
            # ta leaves the last row of its ADX unfinished.
            known = slice(parse_feature(name).warmup_bars, -1)
            distance = np.abs(rows[known, f] - theirs[known])
            worst = max(worst, float((distance / np.maximum(1.0, np.abs(theirs[known]))).max()))
    return seconds, worst


def _times(work: Callable[[], object], rounds: int) -> list[float]:
    """Seconds of each round, one round before them to warm up."""
    work()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return seconds


def _stream_times(pipeline: FeaturePipeline, bars: Sequence[Bars], count: int) -> list[float]:
    """Seconds for one bar of every instrument, in one thread."""
    streams = [pipeline.stream(own.symbol) for own in bars]
    ticks = [_tuples(own.rows(slice(0, count))) for own in bars]
    peers = {PEER: 1.0}
    seconds = []
    for t in range(count):
        start = time.perf_counter()
        for stream, tick in zip(streams, ticks, strict=True):
            stream.update(*tick[t], peers=peers)
        seconds.append(time.perf_counter() - start)
    return seconds


def _show(figures: dict[str, float], compared: int, bars: int) -> None:
    asked = f"asked: under {TARGET_SECONDS} s"
    print(
        f"all features, {figures['threads']} threads: {figures['seconds']:.3f} s median, "
        f"{figures['seconds_best']:.3f} s best ({asked}); "
        f"one thread {figures['seconds_one_thread']:.3f} s; processor time of all threads "
        f"{figures['cpu_seconds']:.3f} s"
    )
    print(
        f"ta, its {figures['ta_indicators']} indicators of {compared} x {bars:,} bars: "
        f"{figures['ta_seconds']:.1f} s; ours, the same in one thread, {figures['vs_ta']:.0f} "
        "times faster"
    )
    print(
        f"stream, one bar of 8 instruments: {figures['stream_us']:.0f} us median, "
        f"{figures['stream_us_99']:.0f} us in 99 of 100 "
        f"(asked: under {TARGET_STREAM_US:.0f} us)"
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    sys.exit(main(common.options(__doc__ or "")))
