"""Settings: one typed, defaulted tree, parsed here and nowhere else.

The same keys come from the editor (`initializationOptions`, `workspace/configuration`), from
`[tool.oci-lsp]` in pyproject.toml and from `--set KEY=VALUE`. A wrong value yields a message and
leaves the default; only the command line, where the user is there to read it, raises.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from oci_lsp.errors import SettingsError


def _doc(text: str, default: Any, *, low: float | None = None, high: float | None = None) -> Any:
    """A field with its one-line description and, for numbers, its inclusive bounds."""
    metadata = {"doc": text, "low": low, "high": high}
    if isinstance(default, list | tuple):
        return field(default_factory=lambda: tuple(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class EngineSettings:
    """Which model writes, and where it runs."""

    model: str = _doc(
        "Model: `auto`, a name of `oci-lsp model list`, a Hugging Face id, a folder or a GGUF file",
        "auto",
    )
    url: str = _doc("OpenAI-compatible server to use instead of the local engine", "")
    api_key_env: str = _doc(
        "Environment variable that holds the key for `engine.url`", "OCI_LSP_API_KEY"
    )
    device: Literal["auto", "cuda", "cpu"] = _doc("Device of the local engine", "auto")
    max_memory: float = _doc(
        "Gigabytes by which the local engine chooses its model and what it keeps at hand; on a GPU "
        "it takes no more; 0: a share that leaves room for other programs",
        0.0,
        low=0,
    )
    idle_minutes: float = _doc(
        "Minutes without a request after which the local engine ends", 15.0, low=0.05
    )


@dataclass(frozen=True)
class VerifySettings:
    """How a candidate is tested."""

    interpreter: str = _doc(
        "The project's Python (3.9 or newer, with pytest 7 or newer); empty: `VIRTUAL_ENV`, "
        "`.venv`, conda, Poetry's, Pipenv's or Hatch's environment, pyenv, else ours",
        "",
    )
    isolation: Literal["strict", "reduced", "ask"] = _doc(
        "Where no sandbox can be had: refuse, run on a copy of the project without one, or ask",
        "ask",
    )
    network: bool = _doc("Let tests use the network", False)
    devices: bool = _doc("Let tests use devices such as the GPU", False)
    env: tuple[str, ...] = _doc("Environment variables that tests may see", ())
    timeout: float = _doc(
        "Seconds that one test run may take; a pass runs twice (`verify.confirm`). Less once a run "
        "of the job used them up: a quarter, or four times what today's code takes",
        30.0,
        low=0.1,
    )
    confirm: bool = _doc(
        "Run a pass once more, with the tests renamed and in reverse order, before it counts", True
    )
    memory_mb: int = _doc("Megabytes that one test run may use", 4096, low=64)
    processes: int = _doc("Processes that one test run may have", 256, low=1)
    copy_mb: int = _doc(
        "Megabytes that a project may have where it must be copied (no overlay on its file system)",
        2048,
        low=1,
    )
    standby: int = _doc(
        "Kernels kept started ahead; a pass takes two (`verify.confirm`)", 2, low=0, high=4
    )
    standby_memory_mb: int = _doc(
        "Megabytes that all kernels kept started ahead may use; above it they import less ahead",
        1024,
        low=1,
    )


@dataclass(frozen=True)
class RefineSettings:
    """Limits of the loop that generates, tests and refines."""

    candidates: int = _doc(
        "Candidates in a turn: one greedy, the others sampled", 4, low=1, high=32
    )
    turns: int = _doc("Turns; each after the first sees how the last one failed", 2, low=1, high=16)
    attempts: int = _doc("Candidates run in one job at most", 16, low=1)
    seconds: float = _doc("Seconds that one job may take once the model is ready", 300.0, low=1)
    tokens: int = _doc("Tokens that one job may generate", 32768, low=16)
    max_tokens: int = _doc("Tokens that one reply may have", 1024, low=16)
    context_tokens: int = _doc(
        "Tokens of the prompt that may tell of the code around the function: its class, what it "
        "and its tests use of other modules; 0: none",
        1000,
        low=0,
    )
    temperature: float = _doc("Temperature of the sampled candidates", 0.7, low=0, high=2)
    top_p: float = _doc("Nucleus of the sampled candidates", 0.95, low=0.01, high=1)
    seed: int = _doc("Seed of the sampled candidates", 0, low=0)
    regression_seconds: float = _doc(
        "Seconds for the other tests that reference the function; 0: not run", 60.0, low=0
    )
    suite_seconds: float = _doc(
        "Seconds that a run of the whole test suite may take, to fix all that fails", 600.0, low=1
    )


@dataclass(frozen=True)
class HistorySettings:
    """Transcripts of jobs in the user's state directory."""

    enabled: bool = _doc("Keep a transcript of each job", True)
    keep: int = _doc("Transcripts kept; the oldest are deleted", 500, low=1)


@dataclass(frozen=True)
class Settings:
    """The whole tree, as under `oci_lsp` in an editor."""

    engine: EngineSettings = field(default_factory=EngineSettings)
    verify: VerifySettings = field(default_factory=VerifySettings)
    refine: RefineSettings = field(default_factory=RefineSettings)
    history: HistorySettings = field(default_factory=HistorySettings)
    apply: Literal["auto", "confirm", "preview"] = _doc(
        "A passed edit: made at once, after a question, or after the editor's own preview", "auto"
    )
    code_lens: Literal["auto", "on", "off"] = _doc(
        "Links above functions whose test is known; `auto`: not where the editor has a test view",
        "auto",
    )
    diagnostics: bool = _doc("Show a test that failed at its assert and in the function", True)


# A repository that could set these could weaken its reader's safety, or delete what is not its own:
# from pyproject.toml they count in a trusted workspace only.
GUARDED = frozenset(
    {
        "engine.url",
        "engine.apiKeyEnv",
        "history.enabled",
        "history.keep",
        "verify.confirm",
        "verify.isolation",
        "verify.memoryMb",
        "verify.processes",
        "verify.network",
        "verify.devices",
        "verify.env",
        "verify.interpreter",
    }
)

# What the same table or section may hold beside the settings, read elsewhere.
ELSEWHERE = {
    "tests": "Tests pinned to functions: `FILE::QUALNAME` and its pytest node ids",
    "server": "How the editor starts oci-lsp",
    "trace": "What the editor logs of the protocol",
}


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


@dataclass(frozen=True)
class Key:
    """One setting: its dotted name (`verify.memoryMb`) and its field; `section` may be ""."""

    name: str
    section: str
    attribute: str
    type: Any
    default: Any
    doc: str
    low: float | None
    high: float | None


def keys() -> dict[str, Key]:
    """Every setting by its dotted, camel-case name, in the order of the tree."""
    found: dict[str, Key] = {}
    for item in dataclasses.fields(Settings):
        if "doc" in item.metadata:
            found |= _keys_of("", Settings, [item])
        else:
            section_type = typing.get_type_hints(Settings)[item.name]
            found |= _keys_of(item.name, section_type, dataclasses.fields(section_type))
    return found


def _keys_of(
    section: str, owner: type[Any], fields: Iterable[dataclasses.Field[Any]]
) -> dict[str, Key]:
    hints, defaults = typing.get_type_hints(owner), owner()
    found = {}
    for item in fields:
        name = ".".join(_camel(part) for part in (section, item.name) if part)
        found[name] = Key(
            name=name,
            section=section,
            attribute=item.name,
            type=hints[item.name],
            default=getattr(defaults, item.name),
            doc=item.metadata["doc"],
            low=item.metadata["low"],
            high=item.metadata["high"],
        )
    return found


def value_of(settings: Settings, key: Key) -> Any:
    """What a key is set to."""
    owner = getattr(settings, key.section) if key.section else settings
    return getattr(owner, key.attribute)


def _replaced(base: Settings, key: Key, value: Any) -> Settings:
    if not key.section:
        return dataclasses.replace(base, **{key.attribute: value})
    section = dataclasses.replace(getattr(base, key.section), **{key.attribute: value})
    return dataclasses.replace(base, **{key.section: section})


def expected(key: Key) -> str:
    """What a key may be set to, in words."""
    if typing.get_origin(key.type) is Literal:
        return "one of " + ", ".join(typing.get_args(key.type))
    if typing.get_origin(key.type) is tuple:
        return "a list of strings"
    name = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}
    bounds = [f"at least {key.low:g}"] if key.low is not None else []
    bounds += [f"at most {key.high:g}"] if key.high is not None else []
    return ", ".join([name[key.type], *bounds])


def _convert(key: Key, value: Any) -> Any:
    """The value in the field's type.

    Raises:
        SettingsError: it has another type or lies outside the bounds.
    """
    wrong = SettingsError(f"{key.name}: {value!r} is not {expected(key)}")
    if typing.get_origin(key.type) is Literal:
        if value not in typing.get_args(key.type):
            raise wrong
        return value
    if typing.get_origin(key.type) is tuple:
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
            raise wrong
        return tuple(value)
    if key.type is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not key.type:
        raise wrong
    if key.type in (int, float) and not (
        (key.low is None or value >= key.low) and (key.high is None or value <= key.high)
    ):
        raise wrong
    return value


def _flatten(tree: Mapping[str, Any], messages: list[str]) -> dict[str, Any]:
    """`{"engine": {"model": ..}}` and `{"engine.model": ..}` both become `{"engine.model": ..}`."""
    known = keys()
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if name in ELSEWHERE:
            continue
        inner = {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, Mapping) else {}
        for full, item in (inner or {name: value}).items():
            if full in known:
                flat[full] = item
            elif value not in ({}, None):
                messages.append(f"Unknown setting {full}. {_listed(full)}")
    return flat


def _listed(name: str) -> str:
    """What to do about a key that there is none of: the nearest one, and where all are."""
    known = list(keys())
    # `turns` is nearer to refine.turns than any measure of the letters tells.
    near = [key for key in known if name and key.rpartition(".")[2] == name.rpartition(".")[2]]
    near = near[:1] or difflib.get_close_matches(name, known, 1)
    return "".join(f"Did you mean {key}? " for key in near) + "`oci-lsp settings` lists them all."


def read(tree: Any, *, ignore: frozenset[str] = frozenset()) -> tuple[dict[str, Any], list[str]]:
    """What a tree (nested or dotted keys) sets, by key, and messages about what is wrong.

    `None` values count as not given (editors send them for unset keys). Keys in `ignore` are
    reported and left out.
    """
    messages: list[str] = []
    if tree is None:
        return {}, messages
    if not isinstance(tree, Mapping):
        return {}, [f"The oci_lsp settings are not an object but {type(tree).__name__}"]
    known = keys()
    values: dict[str, Any] = {}
    for name, value in _flatten(tree, messages).items():
        if value is None:
            continue
        if name in ignore:
            messages.append(f"{name} from pyproject.toml is ignored: this workspace is not trusted")
            continue
        try:
            values[name] = _convert(known[name], value)
        except SettingsError as error:
            messages.append(f"{error.message}; it is ignored")
    return values, messages


def _with(base: Settings, values: Mapping[str, Any]) -> Settings:
    known = keys()
    for name, value in values.items():
        base = _replaced(base, known[name], value)
    return base


def merge(
    base: Settings, tree: Any, *, ignore: frozenset[str] = frozenset()
) -> tuple[Settings, list[str]]:
    """`base` with what `read` finds in the tree, and its messages."""
    values, messages = read(tree, ignore=ignore)
    return _with(base, values), messages


def show(value: Any) -> str:
    """A value as `--set` and a JSON file take it."""
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def read_pyproject(root: Path) -> tuple[dict[str, Any], list[str]]:
    """The `[tool.oci-lsp]` table of a project, and messages; `{}` where there is none."""
    path = root / "pyproject.toml"
    try:
        tool = tomllib.loads(path.read_text("utf-8")).get("tool", {})
        table = tool.get("oci-lsp", {}) if isinstance(tool, dict) else {}
    except FileNotFoundError:
        return {}, []
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return {}, [f"{path} cannot be read, its settings are not used: {error}"]
    if not isinstance(table, dict):
        return {}, [f"{path}: tool.oci-lsp is not a table"]
    return table, []


def from_pyproject(base: Settings, root: Path, *, trusted: bool) -> tuple[Settings, list[str]]:
    """`base` with the project's own settings; the guarded ones only where `trusted`."""
    values, messages = project_values(root, trusted=trusted)
    return _with(base, values), messages


def project_values(root: Path, *, trusted: bool) -> tuple[dict[str, Any], list[str]]:
    """What the project's own settings set, by key, and messages; as `from_pyproject`."""
    table, messages = read_pyproject(root)
    values, more = read(table, ignore=frozenset() if trusted else GUARDED)
    return values, messages + more


def from_command_line(base: Settings, assignments: Iterable[str]) -> Settings:
    """`base` with `KEY=VALUE` words.

    Raises:
        SettingsError: an unknown key or a wrong value.
    """
    return _with(base, assigned(assignments))


def assigned(assignments: Iterable[str]) -> dict[str, Any]:
    """What `KEY=VALUE` words set; values are JSON, or plain text for strings, a,b for lists.

    Raises:
        SettingsError: an unknown key or a wrong value.
    """
    known = keys()
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip().removeprefix("oci_lsp.")
        if not equals:
            raise SettingsError(f"--set {assignment}: KEY=VALUE expected")
        if name not in known:
            raise SettingsError(f"--set {assignment}: there is no setting {name!r}", _listed(name))
        values[name] = _convert(known[name], _parse(known[name], text))
    return values


def _parse(key: Key, text: str) -> Any:
    if key.type is str or typing.get_origin(key.type) is Literal:
        return text
    try:
        return json.loads(text)
    except ValueError:
        if typing.get_origin(key.type) is tuple:
            return [part for part in text.split(",") if part]
        return text


def as_tree(settings: Settings) -> dict[str, Any]:
    """The settings as editors write them: nested objects with camel-case keys."""
    tree: dict[str, Any] = {}
    for key in keys().values():
        value = value_of(settings, key)
        *section, leaf = key.name.split(".")
        place = tree.setdefault(section[0], {}) if section else tree
        place[leaf] = list(value) if isinstance(value, tuple) else value
    return tree
