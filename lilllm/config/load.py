"""From YAML and `key=value` overrides to one checked `Config`, with every error at once."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from lilllm.config.schema import Config
from lilllm.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers (`1e-4` is a float) and no duplicate keys."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


def _mapping_without_duplicates(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key_node, _ in node.value:
        key = str(getattr(key_node, "value", key_node))
        if key in seen:
            line = key_node.start_mark.line + 1
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} stands twice (line {line})", key_node.start_mark
            )
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping_without_duplicates)


def parse_yaml(text: str, origin: str) -> Any:
    """Parse one YAML document.

    Raises:
        ConfigError: it is not valid YAML; the message names `origin` and the line.
    """
    try:
        return _Loader(text).get_single_data()
    except yaml.YAMLError as err:
        raise ConfigError(f"{origin}: not valid YAML: {' '.join(str(err).split())}") from err
    except (ValueError, OverflowError, RecursionError) as err:
        reason = "nested too deeply" if isinstance(err, RecursionError) else str(err)
        raise ConfigError(f"{origin}: not valid YAML: {reason}") from err


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> Config:
    """Read a config: defaults < the YAML at `path` < `overrides` (`a.b=value`).

    Raises:
        ConfigError: the file or an override cannot be read, or keys and values are wrong; the
            message lists every problem with file, dotted key and value.
    """
    tree = read_tree(path) if path is not None else {}
    origin = str(path) if path is not None else "command line"
    for override in overrides:
        _apply_override(tree, override)
    return build_config(tree, origin)


def override_config(config: Config, overrides: Sequence[str]) -> Config:
    """A config with overrides (`a.b=value`) over it.

    Raises:
        ConfigError: an override cannot be read, or its key or value is wrong.
    """
    tree = config.model_dump(mode="json")
    for override in overrides:
        _apply_override(tree, override)
    return build_config(tree, "command line")


def is_config_file(path: Path) -> bool:
    """Whether a path that may name a config or a folder names a config, even a missing one."""
    return path.is_file() or (path.suffix in {".yaml", ".yml"} and not path.is_dir())


def read_tree(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, unchecked."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as err:
        near = sorted(str(p) for p in Path("configs").glob("*.yaml"))
        hint = f"configs here: {', '.join(near)}" if near else "give the path of a YAML file"
        raise ConfigError(f"{path}: no such config file", hint) from err
    except OSError as err:
        raise ConfigError(f"{path}: cannot be read ({err.strerror})") from err
    except UnicodeDecodeError as err:
        raise ConfigError(f"{path}: not a UTF-8 text file") from err
    tree = parse_yaml(text, str(path))
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{path}: the top level must be a mapping of keys, not {type(tree).__name__}"
        )
    return tree


def build_config(tree: dict[str, Any], origin: str) -> Config:
    """Check a tree of plain values against the schema."""
    try:
        # a section with all its keys commented out is None in YAML
        return Config.model_validate({k: v for k, v in tree.items() if v is not None})
    except ValidationError as err:
        lines = [_explain(error, origin, tree) for error in err.errors()]
        raise ConfigError(
            "\n".join(dict.fromkeys(lines)),
            "`lilllm config schema` documents every key",
        ) from err
    except (RecursionError, OverflowError) as err:
        raise ConfigError(f"{origin}: a value is too large or nested too deeply") from err


def _apply_override(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key or not all(key.split(".")):
        raise ConfigError(
            f"override {override!r}: expected key=value", "for example pretrain.lr=3e-4"
        )
    node: Any = tree
    *parents, last = key.split(".")
    for index, parent in enumerate(parents):
        child = node.setdefault(parent, {})
        if child is None:
            child = node[parent] = {}
        if not isinstance(child, dict):
            raise ConfigError(
                f"override {override!r}: {'.'.join(parents[: index + 1])} is {child!r}, "
                "not a section of keys"
            )
        node = child
    node[last] = _override_value(key, text)


def _override_value(key: str, text: str) -> Any:
    """`[builtin:stories]` and `{a: 1}` are YAML; a bare `a: b` stays the string it looks like."""
    if text == "":
        return ""
    value = parse_yaml(text, f"override {key}={text}")
    return text if isinstance(value, dict) and not text.lstrip().startswith("{") else value


def _explain(error: Any, origin: str, tree: dict[str, Any]) -> str:
    location = [part for part in error["loc"] if _is_key(part, error["loc"], tree)]
    key = ".".join(str(part) for part in location) or "config"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        known = known_keys(location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, 1, 0.6)
        suggestion = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
        return f"{origin}: {key}: unknown key{suggestion}"
    if error["type"] == "value_error":  # a check over several keys starts with the key's name
        return f"{origin}: {key}.{message}" if location else f"{origin}: {message}"
    try:
        value = repr(error["input"])
    except ValueError:  # Python refuses to write an integer of thousands of digits
        value = "a number that long"
    if len(value) > 80:
        value = value[:77] + "..."
    return f"{origin}: {key}: {message[:1].lower()}{message[1:]}, not {value}"


def _is_key(part: object, location: Sequence[object], tree: Any) -> bool:
    """Pydantic adds the tried types of a union ('int', 'literal[...]') to a location."""
    node = tree
    for item in location:
        inside = (isinstance(node, dict) and item in node) or (
            isinstance(node, list) and isinstance(item, int) and item < len(node)
        )
        if item is part:
            return inside or (
                isinstance(part, str)
                and re.fullmatch(r"\w+", part) is not None
                and part not in {"int", "float", "str", "bool", "constrained"}
            )
        if inside:
            node = node[item]
    return True


def known_keys(location: Sequence[Any]) -> list[str]:
    """The keys that the section at a dotted location has."""
    node: Any = Config
    for part in location:
        if isinstance(node, type) and issubclass(node, BaseModel):
            field = node.model_fields.get(str(part))
            node = field.annotation if field else None
        else:  # inside a dict or tuple of sections: keys and indices lead to its element
            node = _element(node)
    if not (isinstance(node, type) and issubclass(node, BaseModel)):
        node = _element(node)
    return list(node.model_fields) if isinstance(node, type) and issubclass(node, BaseModel) else []


def _element(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, UnionType, dict, tuple, list):
        for argument in get_args(annotation):
            if isinstance(argument, type) and issubclass(argument, BaseModel):
                return argument
    return None


def dump_yaml(config: BaseModel, header: str = "") -> str:
    """A config as YAML that `load_config` reads back to the same values."""
    body = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return header + body
