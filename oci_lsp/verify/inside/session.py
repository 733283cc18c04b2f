"""One driver's life: hello, preloading, one request, pytest, goodbye (standard library, 3.9)."""

import faulthandler
import importlib
import importlib.metadata
import importlib.util
import json
import os
import signal
import sys
from typing import Any, Callable, Dict, List, Optional

from . import control
from .channel import Channel
from .integrity import Integrity
from .sentinel import Suspects

# Imports that cost tenths of a second, and that nobody configures before the first import.
_PRELOAD_FIRST = (
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
    _preload(settings)
    integrity = Integrity()
    channel.send("ready")
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


def _preload(settings: Dict[str, Any]) -> None:
    names: List[str] = [*_PRELOAD_FIRST]
    installed = [*_plugins(), *settings.get("preload", [])]
    names += [name for name in installed if _is_installed(name.partition(".")[0], settings)]
    for name in names:
        try:
            importlib.import_module(name)
        except Exception:
            continue


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


def _is_installed(name: str, settings: Dict[str, Any]) -> bool:
    """Whether the module is a third party's, not the project's own (perhaps installed editable)."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    if spec is None or not spec.origin:
        return False
    origin = os.path.realpath(spec.origin)
    return "site-packages" in origin or not origin.startswith(settings["root"] + os.sep)


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
    os.chdir(root)
    sys.path.insert(0, root)  # as `python -m pytest` does
    sys.path[:] = [_moved(entry, request.get("moved", {})) for entry in sys.path]
    importlib.invalidate_caches()
    if request["control"]:
        control.disable(request["candidate"])
    return run(request, channel, suspects, integrity, modules)


def _moved(entry: str, moved: Dict[str, str]) -> str:
    """A sys.path entry of the real project, as it is in the copy that is tested."""
    for real, copy in moved.items():
        if entry == real or entry.startswith(real + os.sep):
            inside = copy + entry[len(real) :]
            if os.path.exists(inside):
                return inside
    return entry
