# SPDX-License-Identifier: Apache-2.0
"""States of any policy as bytes, without running code when they are read back (no pickle).

A state is made of arrays, numbers, texts, None, and tuples, lists, dicts and named tuples of such.
The shape comes back from the policy's own `initial_state`, so that named tuples are rebuilt as what
they were; a state that grew other than arrays (a longer list, another key) is rebuilt as stored.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import PolicyError
from mtquant.core.states import Arrays


def pack_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Named arrays as bytes, for `unpack_arrays`."""
    header = {name: [own.dtype.str, list(own.shape)] for name, own in arrays.items()}
    text = json.dumps(header).encode()
    parts = [np.ascontiguousarray(own).tobytes() for own in arrays.values()]
    return len(text).to_bytes(4, "little") + text + b"".join(parts)


def unpack_arrays(content: bytes) -> Arrays:
    """The arrays that `pack_arrays` wrote."""
    size = int.from_bytes(content[:4], "little")
    header = json.loads(content[4 : 4 + size])
    place, arrays = 4 + size, {}
    for name, (kind, shape) in header.items():
        dtype = np.dtype(kind)
        count = int(np.prod(shape, dtype=np.int64))
        own = np.frombuffer(content, dtype=dtype, count=count, offset=place)
        arrays[name] = own.reshape(shape).copy()
        place += count * dtype.itemsize
    return arrays


def pack_state(state: Any) -> bytes:
    """A policy's state as bytes.

    Raises:
        PolicyError: It holds something that cannot be kept.
    """
    return json.dumps(_plain(state)).encode()


def unpack_state(content: bytes, template: Any) -> Any:
    """The state that `pack_state` wrote.

    Args:
        content: The bytes.
        template: The policy's initial state; its named tuples give theirs back.
    """
    return _rebuilt(json.loads(content), template)


def _plain(state: Any) -> Any:
    if state is None or isinstance(state, str | bool):
        return {"value": state}
    if isinstance(state, np.ndarray | np.generic):
        whole = np.ascontiguousarray(state)
        if whole.dtype.hasobject:
            raise _cannot_keep(state)
        content = base64.b64encode(whole.tobytes()).decode()
        kind = "array" if isinstance(state, np.ndarray) else "scalar"
        return {kind: content, "dtype": str(whole.dtype), "shape": list(np.shape(state))}
    if isinstance(state, int):
        return {"value": state}
    if isinstance(state, float):
        return {"float": state.hex()}
    if isinstance(state, tuple | list):
        kind = "tuple" if isinstance(state, tuple) else "list"
        return {kind: [_plain(item) for item in state]}
    if isinstance(state, dict) and all(isinstance(key, str) for key in state):
        return {"dict": {key: _plain(item) for key, item in state.items()}}
    raise _cannot_keep(state)


def _cannot_keep(state: Any) -> PolicyError:
    return PolicyError(
        "state of the policy",
        "must be made of arrays, numbers, texts, None, tuples, lists and dicts of texts",
        type(state).__name__,
        "Return such a state from act() and initial_state().",
    )


def _rebuilt(stored: dict[str, Any], template: Any) -> Any:
    if "value" in stored:
        return stored["value"]
    if "float" in stored:
        return float.fromhex(stored["float"])
    if "dict" in stored:
        known = template if isinstance(template, dict) else {}
        return {key: _rebuilt(item, known.get(key)) for key, item in stored["dict"].items()}
    if "tuple" in stored or "list" in stored:
        return _rebuilt_sequence(stored, template)
    content = base64.b64decode(stored.get("array", stored.get("scalar", "")))
    array = np.frombuffer(content, dtype=np.dtype(stored["dtype"])).reshape(stored["shape"])
    return array.copy() if "array" in stored else array[()]


def _rebuilt_sequence(stored: dict[str, Any], template: Any) -> Any:
    items = stored.get("tuple", stored.get("list", []))
    known = template if isinstance(template, tuple | list) else ()
    templates = [*known, *[None] * (len(items) - len(known))]
    rebuilt = [_rebuilt(item, own) for item, own in zip(items, templates, strict=False)]
    if "list" in stored:
        return rebuilt
    return type(template)(*rebuilt) if hasattr(template, "_fields") else tuple(rebuilt)
