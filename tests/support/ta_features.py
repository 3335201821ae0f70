# SPDX-License-Identifier: Apache-2.0
"""Our features as the library `ta` (0.11) computes them, in our units; for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import pandas as pd
import ta

Frame = pd.DataFrame
Maker = Callable[[Frame], pd.Series]


def _bands(bars: Frame) -> ta.volatility.BollingerBands:
    return ta.volatility.BollingerBands(bars["close"], window=20, window_dev=2)


def _stochastic(bars: Frame) -> ta.momentum.StochasticOscillator:
    return ta.momentum.StochasticOscillator(bars["high"], bars["low"], bars["close"], 14, 3)


def _adx(bars: Frame) -> ta.trend.ADXIndicator:
    return ta.trend.ADXIndicator(bars["high"], bars["low"], bars["close"], 14)


def _aroon(bars: Frame) -> ta.trend.AroonIndicator:
    return ta.trend.AroonIndicator(bars["high"], bars["low"], 25)


def _keltner(bars: Frame) -> ta.volatility.KeltnerChannel:
    return ta.volatility.KeltnerChannel(
        *(bars["high"], bars["low"], bars["close"]),
        window=20,
        window_atr=10,
        original_version=False,
        multiplier=2,
    )


def _donchian(bars: Frame) -> ta.volatility.DonchianChannel:
    return ta.volatility.DonchianChannel(bars["high"], bars["low"], bars["close"], 20)


def _ichimoku(bars: Frame) -> ta.trend.IchimokuIndicator:
    return ta.trend.IchimokuIndicator(bars["high"], bars["low"], 9, 26, 52, visual=True)


def _bollinger(bars: Frame) -> pd.Series:
    bands = _bands(bars)
    half_width = bands.bollinger_hband() - bands.bollinger_mavg()
    return (bars["close"] - bands.bollinger_mavg()) / half_width


def _keltner_place(bars: Frame) -> pd.Series:
    channel = _keltner(bars)
    half_width = channel.keltner_channel_hband() - channel.keltner_channel_mband()
    return (bars["close"] - channel.keltner_channel_mband()) / half_width


def _ichimoku_lines(bars: Frame) -> pd.Series:
    lines = _ichimoku(bars)
    gap = lines.ichimoku_conversion_line() - lines.ichimoku_base_line()
    return gap / bars["close"]


def _ichimoku_cloud(bars: Frame) -> pd.Series:
    lines = _ichimoku(bars)
    return 1.0 - 0.5 * (lines.ichimoku_a() + lines.ichimoku_b()) / bars["close"]


def _donchian_width(bars: Frame) -> pd.Series:
    channel = _donchian(bars)
    width = channel.donchian_channel_hband() - channel.donchian_channel_lband()
    return width / bars["close"]


def _range_position(bars: Frame) -> pd.Series:
    close = bars["close"]
    return ta.volatility.DonchianChannel(close, close, close, 20).donchian_channel_pband()


def _obv(bars: Frame) -> pd.Series:
    volume = ta.volume.OnBalanceVolumeIndicator(bars["close"], bars["volume"])
    return volume.on_balance_volume().diff(20) / bars["volume"].rolling(20).sum()


def _mfi(bars: Frame) -> pd.Series:
    columns = (bars["high"], bars["low"], bars["close"], bars["volume"])
    return ta.volume.MFIIndicator(*columns, 14).money_flow_index() / 100


def _cmf(bars: Frame) -> pd.Series:
    columns = (bars["high"], bars["low"], bars["close"], bars["volume"])
    return ta.volume.ChaikinMoneyFlowIndicator(*columns, 20).chaikin_money_flow()


def _vwap(bars: Frame) -> pd.Series:
    columns = (bars["high"], bars["low"], bars["close"], bars["volume"])
    mean = ta.volume.VolumeWeightedAveragePrice(*columns, 14).volume_weighted_average_price()
    return 1.0 - mean / bars["close"]


def _vortex(bars: Frame) -> pd.Series:
    vortex = ta.trend.VortexIndicator(bars["high"], bars["low"], bars["close"], 14)
    return vortex.vortex_indicator_pos() - vortex.vortex_indicator_neg()


def _atr(bars: Frame) -> pd.Series:
    columns = (bars["high"], bars["low"], bars["close"])
    return ta.volatility.AverageTrueRange(*columns, 14).average_true_range() / bars["close"]


def _ultimate(bars: Frame) -> pd.Series:
    columns = (bars["high"], bars["low"], bars["close"])
    return ta.momentum.UltimateOscillator(*columns, 7, 14, 28).ultimate_oscillator() / 100


def _williams(bars: Frame) -> pd.Series:
    columns = (bars["high"], bars["low"], bars["close"])
    return ta.momentum.WilliamsRIndicator(*columns, 14).williams_r() / 100


def _cci(bars: Frame) -> pd.Series:
    return ta.trend.CCIIndicator(bars["high"], bars["low"], bars["close"], 20).cci()


TA_FEATURES: Mapping[str, Maker] = MappingProxyType(
    {
        "log_return_1": lambda bars: (
            ta.others.DailyLogReturnIndicator(bars["close"]).daily_log_return() / 100
        ),
        "roc_12": lambda bars: ta.momentum.ROCIndicator(bars["close"], 12).roc() / 100,
        "atr_14": _atr,
        "donchian_width_20": _donchian_width,
        "rsi_14": lambda bars: ta.momentum.RSIIndicator(bars["close"], window=14).rsi() / 100,
        "stochastic_14": lambda bars: _stochastic(bars).stoch() / 100,
        "stochastic_d_14_3": lambda bars: _stochastic(bars).stoch_signal() / 100,
        "williams_14": _williams,
        "range_position_20": _range_position,
        "bollinger_20": _bollinger,
        "bollinger_width_20": lambda bars: _bands(bars).bollinger_wband() / 100,
        "cci_20": _cci,
        "ultimate_7_14_28": _ultimate,
        "keltner_20_10": _keltner_place,
        "keltner_width_20_10": lambda bars: _keltner(bars).keltner_channel_wband() / 100,
        "macd_12_26_9": lambda bars: (
            ta.trend.MACD(bars["close"], 26, 12, 9).macd_diff() / bars["close"]
        ),
        "trix_15": lambda bars: ta.trend.TRIXIndicator(bars["close"], 15).trix() / 100,
        "adx_14": lambda bars: _adx(bars).adx() / 100,
        "plus_di_14": lambda bars: _adx(bars).adx_pos() / 100,
        "minus_di_14": lambda bars: _adx(bars).adx_neg() / 100,
        "aroon_up_25": lambda bars: _aroon(bars).aroon_up() / 100,
        "aroon_down_25": lambda bars: _aroon(bars).aroon_down() / 100,
        "aroon_25": lambda bars: _aroon(bars).aroon_indicator() / 100,
        "vortex_14": _vortex,
        "ichimoku_9_26": _ichimoku_lines,
        "ichimoku_cloud_9_26_52": _ichimoku_cloud,
        "obv_20": _obv,
        "mfi_14": _mfi,
        "cmf_20": _cmf,
        "vwap_14": _vwap,
    }
)
