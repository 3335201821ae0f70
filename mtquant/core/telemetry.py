# SPDX-License-Identifier: Apache-2.0
"""TensorBoard: what training writes while it runs.

    with Telemetry(Path("logs/phase1/EURUSD")) as board:
        board.scalars({"train/loss": 0.12, "time/fps": 81_000.0}, step=16_384)

Events are written with TensorBoard's own writer, which needs no torch. `METRICS` is the dictionary
of the names; `docs/metrics.md` tells more about each.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

METRICS = {
    "train/loss": "total loss",
    "train/policy_gradient_loss": "clipped policy loss",
    "train/value_loss": "squared error of the value estimate",
    "train/forecast_loss": "error of the message head's forecasts (negative log-likelihood)",
    "train/restored": "1 where a gradient was not finite and the last good state came back",
    "train/entropy_loss": "minus the policy's entropy",
    "train/approx_kl": "distance between the policy before and after the update",
    "train/clip_fraction": "share of samples whose probability ratio was clipped",
    "train/explained_variance": "share of the returns' variance that the value estimate explains",
    "train/learning_rate": "Adam step size",
    "train/cost_share": "the share of their costs that training accounts pay",
    "train/std": "standard deviation of the action distribution",
    "rollout/ep_rew_mean": "mean reward of the latest finished episodes",
    "rollout/ep_len_mean": "mean length of the latest finished episodes",
    "time/fps": "bars lived through per second",
    "market/growth": "mean log growth of equity per bar",
    "market/turnover": "mean traded notional over equity per bar",
    "market/cost": "mean commission, spread and slippage over equity per bar",
    "market/drawdown": "mean drawdown at the end of the latest finished episodes",
    "market/gross": "mean sum of absolute exposures",
    "market/stop_rate": "stop-losses, take-profits and liquidations per bar",
    "market/limit_bind_rate": "share of decisions in which a limit bound",
    "reward/growth": "paid per bar by growth",
    "reward/differential_sharpe": "paid per bar by the differential Sharpe ratio",
    "reward/drawdown": "paid per bar by the drawdown penalty",
    "reward/cost": "paid per bar by the cost penalty",
    "reward/differential_sortino": "paid per bar by the differential Sortino ratio",
    "reward/differential_information": "paid per bar by the differential information ratio",
    "reward/tail_loss": "paid per bar by the tail-loss penalty",
    "reward/variance": "paid per bar by the variance penalty",
    "reward/downside_variance": "paid per bar by the downside-variance penalty",
    "reward/diversification": "paid per bar by the diversification term",
    "reward/turnover": "paid per bar by the turnover penalty",
    "meta/risk_budget": "mean share of the gross cap that the meta-controller asks for",
    "meta/cash": "mean weight of cash",
    "meta/specialists_used": "effective number of specialists that get capital",
    "meta/weight": "mean weight of the specialist",
    "train/difference_reward": "mean of what the portfolio gains through the specialist",
    "coordination/cosine": "cosine between a specialist's two goals",
    "coordination/conflict_rate": "share of minibatches in which the goals conflict",
    "coordination/projected_frac": "share of the plain combination's length that coordination took",
    "coordination/cosine_own": "cosine of the final gradient with the specialist's own goal",
    "coordination/cosine_meta": "cosine of the final gradient with the meta-controller's goal",
    "coordination/refused_rate": "share of minibatches in which a goal was not finite",
    "curriculum/difficulty": "how hard the training bars are, from 0 to 1",
    "curriculum/promotions": "levels gone up since the start",
    "curriculum/demotions": "levels gone down since the start",
    "curriculum/synthetic_share": "share of the training bars that are made up",
    "curriculum/volatility_factor": "volatility of made-up calm bars over the instrument's own",
    "curriculum/cost_factor": "what the range of training costs is multiplied by",
    "curriculum/episode_factor": "what the length of training episodes is multiplied by",
    "validation/sharpe": "yearly Sharpe ratio on the validation rows",
    "validation/drawdown": "largest drawdown on the validation rows",
    "validation/turnover": "mean traded notional over equity per bar on the validation rows",
    "validation/win_rate": "share of the validation bars with a position that gained",
    "validation/var_use": "mean one-day value at risk of the book over its limit, validation rows",
    "limits/name": "share of the validation decisions that it cut: name cap",
    "limits/gross": "share of the validation decisions that it cut: gross cap",
    "limits/net": "share of the validation decisions that it cut: net cap",
    "limits/sector": "share of the validation decisions that it cut: sector cap",
    "limits/correlation": "share of the validation decisions that it cut: correlation exposure",
    "limits/value_at_risk": "share of the validation decisions that it cut: value at risk",
    "limits/volatility": "share of the validation decisions that it cut: volatility",
    "limits/turnover": "share of the validation decisions that it cut: turnover cap",
    "limits/unknown_risk": "share of the validation decisions that it cut: unknown risk",
}


SETTINGS = "_hparams_/session_start_info"  # the tag that TensorBoard's plug-in gives them
EVENT_FILES = "events.out.tfevents.*"


class Telemetry:
    """Writes one TensorBoard event file; a context manager.

    Numbers that are not finite are written as they are, so that the curve shows the break, and are
    reported to the logger once per name.

    Args:
        log_dir: Folder of the event file; made if need be.
        logger: Who hears of numbers that are not finite.
        resumed_at: Forget what an earlier run wrote there behind this step: a run that goes on
            from there writes it again. When None the files of earlier runs stay as they are.

    A run that goes on copies what stays into a file of its own, and then deletes the earlier files.
    Killed on the way, it leaves some points in two files; the next one that goes on takes them for
    what they are, since a copy is equal to the byte, the wall time included.
    """

    def __init__(
        self, log_dir: Path, logger: logging.Logger | None = None, resumed_at: int | None = None
    ) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._logger = logger or logging.getLogger(__name__)
        self._flagged: set[str] = set()
        old = list(log_dir.glob(EVENT_FILES))
        self._writer = EventFileWriter(str(log_dir))
        self._has_settings = False
        if resumed_at is not None:
            for event in _events_until(old, resumed_at):
                self._writer.add_event(event)
                self._has_settings |= any(own.tag == SETTINGS for own in event.summary.value)
            self._writer.flush()
            for file in old:
                file.unlink()

    def scalar(self, tag: str, value: float, step: int) -> None:
        """One number under a name of `METRICS`, at a step (bars lived through)."""
        self.scalars({tag: value}, step)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Several numbers of one step."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        for tag, value in values.items():
            if not math.isfinite(value) and tag not in self._flagged:
                self._flagged.add(tag)
                self._logger.warning("%s is %s at step %d", tag, value, step)
        entries = [
            Summary.Value(tag=tag, simple_value=float(value)) for tag, value in values.items()
        ]
        self._add(Summary(value=entries), step)

    def text(self, tag: str, text: str, step: int) -> None:
        """A text in Markdown, shown under TensorBoard's Text."""
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto

        metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        tensor = TensorProto(
            dtype="DT_STRING",
            string_val=[text.encode()],
            tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]),
        )
        entry = Summary.Value(tag=f"{tag}/text_summary", metadata=metadata, tensor=tensor)
        self._add(Summary(value=[entry]), step)

    def settings(self, values: Mapping[str, float | str | bool]) -> None:
        """The run's hyper-parameters, shown under TensorBoard's HParams; once per run, also where
        it is resumed.
        """
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb

        if not self._has_settings:
            self._add(hparams_pb(dict(values)), 0)
            self._has_settings = True

    def flush(self) -> None:
        """Brings everything written so far to the disk."""
        self._writer.flush()

    def close(self) -> None:
        """Writes what is left and closes the file."""
        self._writer.close()

    def _add(self, summary: Any, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_scalars(log_dir: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Every curve in a folder of event files: name -> steps and values, in the order of steps.

    Of several runs that wrote a step into one folder the latest counts. A folder without event
    files, or none, has no curves; torn ends of files are passed over.
    """
    points: dict[str, dict[int, tuple[float, float]]] = {}
    for event in _events_until(log_dir.glob(EVENT_FILES), sys.maxsize):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                own = points.setdefault(value.tag, {})
                written = event.wall_time, float(value.simple_value)
                own[event.step] = max(own.get(event.step, written), written)
    return {tag: (list(own), [value for _, value in own.values()]) for tag, own in points.items()}


def _events_until(files: Iterable[Path], step: int) -> list[Any]:
    """All events up to a step, in the order of their steps; copies of one event count once, and
    torn ends of files are passed over.
    """
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    kept: dict[bytes, Any] = {}
    for file in files:
        for event in LegacyEventFileLoader(str(file)).Load():
            if event.HasField("summary") and event.step <= step:
                kept.setdefault(event.SerializeToString(deterministic=True), event)
    return sorted(kept.values(), key=lambda event: event.step)
