"""YAML text -> plain values, and back: no tags, no aliases, no repeated keys; numbers and words as people mean them."""

import re
from typing import Any

import yaml

from segtrial.errors import RecipeError


def parse_yaml(text: str, place: str) -> Any:
    """Plain YAML -> plain values. Tags, aliases, repeated keys and anything above 1 MB are refused."""
    if len(text) > 1_000_000:
        raise RecipeError(place, f"{len(text)} characters", "A recipe has at most a million")
    try:
        return yaml.load(text, Loader=_PlainLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise RecipeError(place, f"not plain YAML ({' '.join(str(error).split())})", "Correct that line") from error


def to_yaml(value: Any, *, flow: bool = False) -> str:
    """Plain values -> text that `parse_yaml` reads back; with `flow` on one line, as in {a: [1, 2]}."""
    text = yaml.dump(
        value, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, default_flow_style=flow,
        width=2**30 if flow else 80,
    )  # fmt: skip
    return text.removesuffix("\n").removesuffix("\n...") if flow else text


class _PlainLoader(yaml.SafeLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(
                f"alias *{self.peek_event().anchor}"
            )  # aliases multiply: a short file could fill the memory
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [key.value for key, _ in node.value]
        repeated = sorted({str(key) for key in keys if keys.count(key) > 1})
        if repeated:
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: repeated key {', '.join(repeated)}")
        return super().construct_mapping(node, deep)


def _only(tag: str, pattern: str, first: str) -> None:
    resolvers = _PlainLoader.yaml_implicit_resolvers
    _PlainLoader.yaml_implicit_resolvers = {
        letter: [entry for entry in entries if entry[0] != tag] for letter, entries in resolvers.items()
    }
    _PlainLoader.add_implicit_resolver(tag, re.compile(pattern), list(first))


# YAML 1.1 reads 1e-3 as text, `no` as false, 010 as 8, 1:30 as 90 and 2026-01-31 as a date; people mean a number, a
# word, and text.
_only(
    "tag:yaml.org,2002:float", r"^[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?$|^[-+]?\.(inf|nan)$", "-+.0123456789"
)
_only("tag:yaml.org,2002:bool", r"^(true|false)$", "tf")
_only("tag:yaml.org,2002:int", r"^[-+]?(0|[1-9][0-9_]*)$", "-+0123456789")
_only("tag:yaml.org,2002:timestamp", r"^$", "")


class _PlainDumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 or we would take for something else, so that every reader sees text."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        letter: [*entries, *_PlainLoader.yaml_implicit_resolvers.get(letter, ())]
        for letter, entries in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }

    def ignore_aliases(self, data: Any) -> bool:
        return True
