"""YAML front matter, read and written safely: no tags, no aliases, no surprises.

Dates and decimals stay what they are in the text; multi-line text stands as a block.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

import yaml

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

MAX_DEPTH = 20
"""Deepest nesting that is read; ours has three levels."""

_PLAIN_TAGS = frozenset({"null", "bool", "int", "float", "str", "seq", "map"})


class FrontMatterError(Exception):
    """The mapping cannot be read; ``line`` is 1-based inside the front matter, 0 unknown."""

    def __init__(self, reason: str, *, line: int = 0, field: str = "") -> None:
        super().__init__(reason)
        self.reason, self.line, self.field = reason, line, field


class _Reader(_Loader):  # type: ignore[misc]
    """Safe loading where decimals keep their digits and a date is the text it was written as."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the library's own name
        first: [
            (tag, regexp) for tag, regexp in pairs if not tag.endswith((":timestamp", ":merge"))
        ]
        for first, pairs in _Loader.yaml_implicit_resolvers.items()
    }


class _Writer(_Dumper):  # type: ignore[misc]
    """Safe dumping with blocks for multi-line text and exact decimals."""

    yaml_implicit_resolvers = _Reader.yaml_implicit_resolvers

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """Write every value out; the reader refuses aliases."""
        return True


def _write_text(writer: Any, value: str) -> Any:
    # Blocks only where they surely read back the same; everything else is quoted.
    block = (
        "\n" in value
        and value[0] not in " \n"
        and all(part.isprintable() and part == part.rstrip() for part in value.split("\n"))
    )
    return writer.represent_scalar("tag:yaml.org,2002:str", value, style="|" if block else None)


def _write_decimal(writer: Any, value: Decimal) -> Any:
    return writer.represent_scalar("tag:yaml.org,2002:float", f"{value:f}")


def _read_decimal(reader: Any, node: Any) -> Any:
    text = reader.construct_scalar(node)
    try:
        return Decimal(text.replace("_", ""))
    except InvalidOperation:  # .inf, .nan and base-60 numbers: the library knows them
        return reader.construct_yaml_float(node)


_Writer.add_representer(str, _write_text)
_Writer.add_representer(Decimal, _write_decimal)
_Reader.add_constructor("tag:yaml.org,2002:float", _read_decimal)


def dump_front_matter(fields: dict[str, Any]) -> str:
    """YAML of a mapping, in its own order, without the ``---`` lines."""
    text: str = yaml.dump(
        fields, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=2**31 - 1
    )
    return text


def load_mapping(text: str) -> dict[str, Any]:
    """Read a mapping with text keys; floats come as Decimal. Raises FrontMatterError."""
    _check_events(text)
    try:
        data = yaml.load(text, Loader=_Reader)  # noqa: S506 - a safe loader without tags
    except yaml.YAMLError as error:
        raise _worded(error) from None
    except (ValueError, OverflowError) as error:  # integers past Python's digit limit
        raise FrontMatterError(f"a number cannot be read: {error}.") from None
    if not isinstance(data, dict):
        raise FrontMatterError("the front matter must be 'name: value' lines.", line=1)
    for key in data:
        if not isinstance(key, str):
            raise FrontMatterError(f"the field name {key!r} is not text.")
    return data


@dataclass
class _Level:
    """A mapping or list that is being read: the names of a mapping so far."""

    mapping: bool
    names: set[str] = field(default_factory=set)
    expects_name: bool = True


def _check_events(text: str) -> None:
    """Refuse tags, aliases, deep nesting and repeated names before anything is built."""
    levels: list[_Level] = []
    try:
        for event in yaml.parse(text, Loader=_Reader):
            line = event.start_mark.line + 1 if event.start_mark else 0
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise FrontMatterError("anchors and aliases are not allowed.", line=line)
            tag = getattr(event, "tag", None)
            if tag:
                raise FrontMatterError(f"the tag {tag} is not allowed.", line=line)
            if isinstance(event, yaml.CollectionEndEvent):
                levels.pop()
            elif isinstance(event, yaml.NodeEvent):
                _check_name(event, levels, line)
            if isinstance(event, yaml.CollectionStartEvent):
                levels.append(_Level(isinstance(event, yaml.MappingStartEvent)))
                if len(levels) > MAX_DEPTH:
                    raise FrontMatterError("it is nested too deeply.", line=line)
    except yaml.YAMLError as error:
        raise _worded(error) from None


def _check_name(event: yaml.NodeEvent, levels: list[_Level], line: int) -> None:
    """Names and values of a mapping take turns; no name comes twice."""
    if not levels or not levels[-1].mapping:
        return
    level = levels[-1]
    if level.expects_name and isinstance(event, yaml.ScalarEvent):
        if event.value in level.names:
            raise FrontMatterError(f"the field {event.value!r} stands twice.", line=line)
        level.names.add(event.value)
    level.expects_name = not level.expects_name


def _worded(error: yaml.YAMLError) -> FrontMatterError:
    mark: Any = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return FrontMatterError(
        f"the front matter is not YAML: {problem}.", line=mark.line + 1 if mark else 0
    )
