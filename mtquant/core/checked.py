# SPDX-License-Identifier: Apache-2.0
"""Records that are read from YAML and checked at the door.

A record is a `Section`; `read_yaml` gives plain values, `apply_override` writes one ``a.b=c`` over
them and `validated` makes the record, or raises an error that names the field, the rule, the value
found and what to do.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from mtquant.core.errors import ConfigError, MtquantError


class Section(BaseModel):
    """Base of every checked record: frozen, finite numbers only, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Model = TypeVar("Model", bound=Section)


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("must be a time zone this machine knows") from error
    return name


ZoneName = Annotated[str, AfterValidator(_known_zone)]
"""IANA name of a time zone, for example ``"America/New_York"``."""


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; a key given twice is an error, an empty file an empty mapping.

    Raises:
        ConfigError: The file is missing, is not YAML, or is not a mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except OSError as error:
        remedy = "Check the path."
        raise ConfigError(str(path), "must be a readable file", error.strerror, remedy) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        remedy = "Mend the line that is named."
        raise ConfigError(str(path), "must be valid YAML", _problem(error), remedy) from error
    if not isinstance(content, dict | None):
        remedy = "Start the file with `section:` lines."
        raise ConfigError(str(path), "must hold a mapping", content, remedy)
    return content or {}


def read_value(text: str) -> Any:
    """The value of a YAML text, by the same rules as in a file.

    Raises:
        yaml.YAMLError: It is not YAML.
    """
    return yaml.load(text, Loader=_StrictLoader)


def validated(
    model: type[Model],
    values: Mapping[str, Any],
    *,
    prefix: str = "",
    error_class: type[MtquantError] = ConfigError,
) -> Model:
    """A checked record made of plain values.

    Args:
        model: The record's class.
        values: Its content, as YAML gives it.
        prefix: Put before the field names in messages, for example ``"instruments.EURUSD."``.
        error_class: What to raise.

    Raises:
        MtquantError: Of `error_class`, for the first rule that is broken; an unknown key is
            answered with the nearest one.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False)
        first = found[0]
        names = tuple(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            rule, remedy = "is not a known key", _nearest_key(model, names)
        else:
            rule = re.sub(r"^(\w+ should |Field |Value error, )", _verb, first["msg"])
            remedy = _default_of(model, names)
        if len(found) > 1:
            remedy += f" ({len(found) - 1} more after this one.)"
        shown = None if first["type"] == "missing" else first["input"]
        field = prefix + (".".join(names) or "the file")
        raise error_class(field, rule, shown, remedy) from error


class _StrictLoader(yaml.SafeLoader):
    """Plain YAML in which a key may not be given twice and 1e-3 is a number, as YAML 1.2 has it."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen:
                    problem = f"the key {key_node.value} is given twice"
                    raise yaml.constructor.ConstructorError(
                        None, None, problem, key_node.start_mark
                    )
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def apply_override(values: dict[str, Any], override: str, defaults: Section) -> list[str]:
    """Writes one ``a.b=c`` into the nested mapping and returns its key path.

    A key of a free mapping, such as ``reward.phase_1.growth``, is added to the mapping that
    `values` or, failing that, `defaults` hold: what it means does not depend on whether a file
    spells the defaults out.
    """
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or len(keys) < 2 or not all(keys):
        raise ConfigError(
            "--set", "must read section.key=value", override, "Example: --set training.seed=3"
        )
    try:
        value = read_value(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"--set {path}", "must be valid YAML", text, "Quote the value."
        ) from error
    inner = values
    default: Any = defaults
    for depth, key in enumerate(keys[:-1], start=1):
        default = getattr(default, key, None)
        below = inner.get(key)
        if below is None:
            below = dict(default) if isinstance(default, Mapping) else {}
        if not isinstance(below, dict):
            raise ConfigError(
                path,
                f"must lie in a section, and {'.'.join(keys[:depth])} is a value",
                below,
                f"Set {'.'.join(keys[:depth])} itself.",
            )
        inner[key] = below
        inner = below
    inner[keys[-1]] = value
    return keys


def _problem(error: Exception) -> str:
    """What is wrong with a YAML text, and in which line."""
    mark = getattr(error, "problem_mark", None)
    return str(error) if mark is None else f"line {mark.line + 1}: {getattr(error, 'problem', '')}"


def _verb(match: re.Match[str]) -> str:
    """Turns the start of a pydantic message into the start of a rule."""
    return {"Field ": "is ", "Value error, ": ""}.get(match.group(1), "must ")


def _key_paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted names of all keys at any depth."""
    for name, field in model.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _key_paths(field.annotation, f"{prefix}{name}.")


def _nearest_key(model: type[BaseModel], names: tuple[str, ...]) -> str:
    """Points to the nearest key of the same section, else to one of that name elsewhere."""
    section, wrong = ".".join(names[:-1]), names[-1]
    here: dict[str, str] = {}
    elsewhere: dict[str, str] = {}
    for path in _key_paths(model):
        parent, _, name = path.rpartition(".")
        (here if parent == section else elsewhere).setdefault(name, path)
    for known, cutoff in ((here, 0.6), (elsewhere, 0.8)):
        near = difflib.get_close_matches(wrong, known, n=1, cutoff=cutoff)
        if near:
            return f"Did you mean {known[near[0]]}?"
    return f"Known keys: {', '.join(here)}."


def _default_of(model: type[BaseModel], names: tuple[str, ...]) -> str:
    """The sentence that tells the default of the field at fault."""
    field: FieldInfo | None = None
    for name in names:
        inner = model if field is None else field.annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        field = inner.model_fields.get(name, field)
    if field is None or field.is_required() or field.default_factory is not None:
        return "Correct the value."
    if isinstance(field.default, BaseModel):  # keys that do not fit together
        return "Correct one of these keys."
    return f"The default is {field.default!r}."


def did_you_mean(name: str, choices: Sequence[str]) -> str:
    """The remedy for a name that is none of `choices` (at least one)."""
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.0)
    return f"Did you mean {near[0]}?"
