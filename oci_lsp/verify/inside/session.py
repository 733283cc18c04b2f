"""One driver's life: hello, preloading, one request, pytest, goodbye (standard library, 3.9)."""

import faulthandler
import importlib
import importlib.metadata
import importlib.util
import json
import os
import signal
import sys
import warnings
from typing import Any, Callable, Dict, List, Optional

from . import control, moves
from .channel import Channel
from .integrity import Integrity
from .sentinel import Suspects

# Imports that cost tenths of a second, and that nobody configures before the first import.
_PRELOAD_FIRST = (
    "pdb",
    "tomllib",
    "_pytest._argcomplete",
    # Integrity takes stock of these.
    "doctest",
    "unittest",
    "_pytest.assertion.rewrite",
    "_pytest.config",
    "_pytest.doctest",
    "_pytest.fixtures",
    "_pytest.main",
    "_pytest.python",
    "_pytest.terminal",
    "_pytest.unittest",
    "pytest",
)
STACK_SIGNAL = signal.SIGRTMIN + 9


def serve(request_fd: int, event_fd: int, hide: Callable[[], None]) -> None:
    """Serve one request and end the process; `hide` takes our way of importing away."""
    channel = Channel(event_fd)
    requests = os.fdopen(request_fd, "rb")
    settings = json.loads(requests.readline() or b"{}")
    _say_hello(channel)
    refused = _preload(settings)
    integrity = Integrity()
    channel.send("ready", refused=refused)
    line = requests.readline()
    if not line:
        return
    requests.close()
    request = json.loads(line)
    del line
    suspects = Suspects(request)
    channel.seal(request.pop("nonce"), suspects.owns)
    stacks = open(request["stacks"], "wb", buffering=0)  # noqa: SIM115 - open until the end
    faulthandler.register(STACK_SIGNAL, file=stacks, all_threads=True, chain=False)
    try:
        from . import plugin

        hide()
        status = _run(request, channel, suspects, integrity, plugin.run)
    except BaseException as error:
        channel.send("end", status=None, error="{}: {}".format(type(error).__name__, error))
        raise
    channel.send("end", status=int(status), error="")


def _say_hello(channel: Channel) -> None:
    try:
        version: Optional[str] = importlib.metadata.version("pytest")
    except importlib.metadata.PackageNotFoundError:
        # A vendored pytest has no metadata.
        version = "7" if importlib.util.find_spec("pytest") else None
    channel.send(
        "hello", python="{}.{}".format(*sys.version_info[:2]), pytest=version, prefix=sys.prefix
    )


def _preload(settings: Dict[str, Any]) -> List[str]:
    """Import what is slow; returns the names whose import could be told from one in the run."""
    forbidden = set(settings.get("forbidden", ()))
    plugins = [name for name in _plugins() if name.partition(".")[0] not in forbidden]
    first = [name for name in _PRELOAD_FIRST if not _brings_a_namesake(name, settings["root"])]
    for name in [*first, *_pytest_modules(), *filter(_is_installed, plugins)]:
        try:
            importlib.import_module(name)
        except Exception:
            continue
    before = set(sys.modules)
    refused = []
    for name in filter(_is_installed, settings.get("preload", ())):
        # As in a run, where pytest puts the warnings' filters back.
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                importlib.import_module(name)
            except BaseException:
                refused.append(name)
                continue
        brought = {module.partition(".")[0] for module in set(sys.modules) - before}
        if forbidden & brought or (caught and settings.get("warnings")):
            refused.append(name)
    return refused


# pytest imports these late, so that a project's `code` is found before the library's.
_BROUGHT = {
    "pdb": ("bdb", "cmd", "code", "codeop", "pdb", "pprint"),
    "doctest": ("bdb", "cmd", "code", "codeop", "doctest", "pdb", "pprint"),
}


def _brings_a_namesake(name: str, root: str) -> bool:
    """Whether an import ahead would hide a module of the project's behind the library's."""
    return any(
        os.path.exists(os.path.join(root, folder, module + end))
        for module in _BROUGHT.get(name, ())
        for folder in ("", "src", "lib")
        for end in (".py", "")
    )


def _pytest_modules() -> List[str]:
    """pytest's own plugins, which it imports one after the other when it starts; and ours."""
    ours = [__name__.rpartition(".")[0] + "." + name for name in ("control", "plugin")]
    try:
        from _pytest.config import default_plugins
    except ImportError:
        return ours
    return ["_pytest." + name for name in default_plugins] + ours


def _plugins() -> List[str]:
    """Modules of the installed pytest plugins, which take pytest most of its start."""
    if os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
        return []
    found: Any = importlib.metadata.entry_points()
    if hasattr(found, "select"):
        entries = found.select(group="pytest11")
    else:  # Python 3.9
        entries = found.get("pytest11", [])
    return [entry.value.partition(":")[0].strip() for entry in entries]


def _is_installed(name: str) -> bool:
    """Whether the module is a third party's, not the project's own (perhaps installed editable)."""
    try:
        spec = importlib.util.find_spec(name.partition(".")[0])
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    parts = os.path.realpath(places[0]).split(os.sep) if places else []
    return "site-packages" in parts or "dist-packages" in parts


def _run(
    request: Dict[str, Any],
    channel: Channel,
    suspects: Suspects,
    integrity: Integrity,
    run: Callable[..., int],
) -> int:
    # The candidate is not to find our modules by their names.
    ours = [name for name in sys.modules if name.partition(".")[0] == __package__]
    modules = [sys.modules.pop(name) for name in ours]
    root = request["root"]
    _activate()
    os.chdir(root)
    sys.path.insert(0, root)  # as `python -m pytest` does
    if request["moved"]:
        moves.follow(request["moved"])
    importlib.invalidate_caches()
    if request["control"]:
        control.disable(request["candidate"])
    return run(request, channel, suspects, integrity, modules)


def _activate() -> None:
    """What activating the environment does: its programs are found, by tests that start some."""
    programs = os.path.dirname(sys.executable)
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    if sys.prefix != sys.base_prefix:
        os.environ["VIRTUAL_ENV"] = sys.prefix
        path = [programs] + [entry for entry in path if entry != programs]
    else:
        os.environ.pop("VIRTUAL_ENV", None)
        path = path if programs in path else [programs, *path]
    os.environ["PATH"] = os.pathsep.join(path)
