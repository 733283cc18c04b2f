"""What a sandbox hides: secrets in the home, other programs' sockets, most devices."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path

from oci_lsp.paths import is_dir, is_file, runtime_dir

# Below the user's home: what a test has no business to read.
_SECRETS = (
    # keys, tokens and passwords
    *(".ssh", ".aws", ".azure", ".oci", ".config", ".docker", ".dockercfg", ".gnupg", ".kube"),
    *(".password-store", ".pki", ".step", ".minikube", ".s3cfg", ".boto", ".vault-token"),
    *(".netrc", ".pypirc", ".npmrc", ".yarnrc", ".yarnrc.yml", ".git-credentials", ".my.cnf"),
    *(".pgpass", ".mylogin.cnf", ".databrickscfg", ".terraform.d", ".terraformrc", ".huggingface"),
    *(".cargo/credentials", ".cargo/credentials.toml", ".gem/credentials", ".bundle/config"),
    *(".m2/settings.xml", ".gradle/gradle.properties", ".ivy2/.credentials", ".sbt/.credentials"),
    *(".composer/auth.json", ".subversion/auth", ".cache/huggingface/token", ".kaggle"),
    *(".local/share/keyrings", ".local/share/kwalletd", ".gnome2/keyrings", ".claude", ".codex"),
    *(".Xauthority", ".ICEauthority", ".bitcoin", ".ethereum", ".electrum"),
    # browsers and mail
    *(".mozilla", ".thunderbird", ".cache/mozilla", ".cache/thunderbird", ".var/app", "snap"),
    *(".cache/google-chrome", ".cache/chromium"),
    # what was typed and edited
    *(".bash_history", ".zsh_history", ".zhistory", ".histfile", ".local/share/fish", ".lesshst"),
    *(
        ".python_history",
        ".psql_history",
        ".mysql_history",
        ".sqlite_history",
        ".node_repl_history",
    ),
    *(".rediscli_history", ".irb_history", ".viminfo", ".wget-hsts", ".bash_sessions"),
    # our own
    *(".local/share/oci-lsp", ".local/state/oci-lsp"),
)
_SYSTEM_SECRETS = ("/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/sudoers.d")
_SYSTEM_KEYS = ("/etc/ssl/private", "/etc/ssh/ssh_host_*_key", "/etc/krb5.keytab", "/etc/wireguard")
# Root owns these also without any capability: they are the whole machine's.
MACHINE = tuple(
    f"/proc/{name}"
    for name in (
        *("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi", "asound", "driver"),
        *("dynamic_debug", "mtrr", "pressure"),
    )
)
EMPTIED = ("/tmp", "/run", "/var/tmp")  # noqa: S108 - replaced by fresh ones

# What `verify.devices` opens: processors, cameras, sound, boards and serial lines. Disks,
# terminals, keyboards, the machine's memory and the like stay out.
_DEVICES = re.compile(
    r"nvidia|nvhost|nvmap|nvgpu|dri$|kfd$|dxg$|accel|kvm$|mali|davinci|devmm_svm|hisi_hdc|neuron"
    r"|habanalabs|hl\d|apex_|tenstorrent|infiniband$|dma_heap$|snd$|video\d|media\d|v4l|bus$"
    r"|ttyUSB|ttyACM|gpiochip|i2c-|spidev"
)


def hidden(root: Path) -> list[Path]:
    """Real paths that the sandbox of a project covers, folders and files."""
    # Sockets of the engine and of other kernels are no test's business either.
    found = [*secrets(), runtime_dir().resolve()]
    return found + [path for path in _sockets() if not _covered(path, root, found)]


def secrets() -> list[Path]:
    """The secrets that exist, by their real paths; never the home itself."""
    home = Path.home()
    paths = [home / name for name in _SECRETS] + [Path(name) for name in _SYSTEM_SECRETS]
    for pattern in _SYSTEM_KEYS:
        paths += Path("/").glob(pattern[1:])
    # Histories may have been told to lie elsewhere.
    paths += [Path(os.environ[name]) for name in ("HISTFILE", "NETRC") if os.environ.get(name)]
    # /dev/null (HISTFILE, a linked history) holds nothing, and covered it could not be opened.
    real = [path.resolve() for path in paths if _is_there(path)]
    return [path for path in dict.fromkeys(real) if path not in (home.resolve(), Path("/"))]


def _is_there(path: Path) -> bool:
    try:
        return is_file(path) or is_dir(path)
    except OSError:  # in another user's closed folder: nobody sees it in a sandbox either
        return False


def _covered(path: Path, root: Path, found: list[Path]) -> bool:
    """Whether a path is out of reach already; an overlay's or a copy's sockets are nobody's."""
    return any(path.is_relative_to(folder) for folder in [root, *map(Path, EMPTIED), *found])


def _sockets() -> list[Path]:
    """Sockets that other programs bound to a path: a read-only mount keeps nobody from connecting
    to the ssh-agent, to Docker or to a database."""
    found: dict[Path, None] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/unix").read_text("utf-8", "surrogateescape").splitlines()[1:]:
            name = line.split(maxsplit=7)[7:]
            if not name or not name[0].startswith("/"):
                continue  # nameless, or abstract: a network of its own keeps those away
            with contextlib.suppress(OSError):
                path = Path(name[0]).resolve(strict=True)
                if stat.S_ISSOCK(path.stat().st_mode) and not path.is_relative_to("/dev"):
                    found[path] = None
    return [path for path in found if _within_reach(path)]


def _within_reach(path: Path) -> bool:
    """Whether a sandbox gets to the path at all. Root's has no capabilities: a folder of another
    user's stops it, and it could not even cover what lies there."""
    groups = {os.getegid(), *os.getgroups()}
    for folder in path.parents:
        try:
            status = folder.stat()
        except OSError:
            return False
        shift = 6 if status.st_uid == os.geteuid() else 3 if status.st_gid in groups else 0
        if not status.st_mode >> shift & 1:
            return False
    return True


def devices() -> list[Path]:
    """What of /dev a sandbox with devices shows beside what each has."""
    try:
        names = sorted(os.listdir("/dev"))  # noqa: PTH208
    except OSError:
        return []
    return [Path("/dev", name) for name in names if _DEVICES.match(name)]
