"""What a standby kernel imports ahead: the slow third-party modules that a run will import anyway.

A module imported ahead must not change a verdict. So the project's own modules are never among
them, nor what tests configure before they import it, nor what they look up in `sys.modules`.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from oci_lsp import paths
from oci_lsp.errors import OciError
from oci_lsp.paths import is_dir, is_file
from oci_lsp.verify import freshness, imports
from oci_lsp.verify.environment import Environment
from oci_lsp.verify.freshness import Fingerprint
from oci_lsp.verify.imports import Scan, Wanted

# Never imported ahead, and nothing that would import one of them: why.
_DENIED: Mapping[str, str] = {
    **dict.fromkeys(("matplotlib", "seaborn", "pyvista", "vtk", "mayavi"), "chooses a backend"),
    **dict.fromkeys(("pygame", "kivy", "wx", "gi"), "chooses a display"),
    **dict.fromkeys(("PyQt5", "PyQt6", "PySide2", "PySide6"), "chooses a display"),
    **dict.fromkeys(("django", "rest_framework", "celery"), "reads settings that a conftest names"),
    **dict.fromkeys(("jax", "jaxlib", "tensorflow", "keras"), "reads flags from the environment"),
    **dict.fromkeys(("pyspark", "ray", "rpy2", "jpype", "julia"), "starts another runtime"),
    **dict.fromkeys(("gevent", "eventlet"), "replaces parts of the standard library"),
    **dict.fromkeys(("ddtrace", "newrelic"), "wraps what is imported after it"),
    "twisted": "installs a reactor that tests choose",
    **dict.fromkeys(("setuptools", "pkg_resources"), "takes stock of sys.path"),
    "coverage": "is started by its own plugin",
}
# With these in use, the order of all other imports matters.
_FIRST = frozenset(("gevent", "eventlet", "ddtrace", "newrelic"))
# Environment variables that are read by modules of another name, at their import.
_READERS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("OMP_", "OPENBLAS_", "MKL_", "BLIS_", "KMP_", "GOTO_", "NPY_"), ("numpy",)),
    **dict.fromkeys(("HF_", "TRANSFORMERS_"), ("huggingface_hub", "transformers", "datasets")),
    **dict.fromkeys(("CUDA_", "PYTORCH_", "NCCL_", "OMP_"), ("numpy", "torch", "cupy")),
    "ARROW_": ("pyarrow",),
    "CI": ("hypothesis",),
}
_INI = ("pyproject.toml", "pytest.ini", ".pytest.ini", "pytest.toml", "tox.ini", "setup.cfg")
_PYTHONPATH = re.compile(r"^\s*pythonpath\s*=\s*(\[[^\]]*\]|.*(?:\n[ \t]+\S.*)*)", re.MULTILINE)
_WARNING_ERRORS = re.compile(r"(?:filterwarnings|-W)[^\[]{0,2000}\berror\b|-Werror|\"error|'error")
_VARIABLE = re.compile(r"\b[A-Z][A-Z0-9_]+\b")
# Bounds on what is read to find out.
_MOST_FILES = 150
_MOST_BYTES = 2_000_000


@dataclass(frozen=True)
class Preload:
    """What to import ahead.

    Attributes:
        names: dotted modules, in the order of the imports.
        forbidden: top-level modules; an import that brings one of them is not done ahead.
        warnings: the project turns warnings into errors: neither is an import that warns.
        files: what was read to find out.
    """

    names: tuple[str, ...] = ()
    forbidden: frozenset[str] = frozenset()
    warnings: bool = False
    files: tuple[Path, ...] = ()

    def serves(self, wanted: Preload) -> bool:
        """Whether a kernel with these imports can run what `wanted` was found for."""
        return (
            set(self.names) <= set(wanted.names)
            and wanted.forbidden <= self.forbidden
            and self.warnings >= wanted.warnings
        )

    def without(self, names: Iterable[str]) -> Preload:
        """The same without some of the names."""
        left_out = frozenset(names)
        kept = tuple(name for name in self.names if name not in left_out)
        return Preload(kept, self.forbidden, self.warnings, self.files)


class Planner:
    """Finds out what to import ahead for runs of one project. Not thread-safe."""

    def __init__(self, root: Path, python: Path) -> None:
        self._root = root
        self._python = python
        self._environment: Environment | None = None
        self._files: dict[Path, None] = {}
        self._plans: dict[object, Preload] = {}
        self._scans: dict[object, Scan] = {}

    def find(self, files: Mapping[Path, str], seeds: Iterable[Path]) -> tuple[Fingerprint, Preload]:
        """The project's present state, and what runs of the seeds import at it.

        Args:
            files: texts that are laid over the project.
            seeds: the tests' files and the one under test.
        """
        seeds = tuple(dict.fromkeys(seeds))
        laid = tuple((path, imports.essence(text)) for path, text in files.items())
        while True:
            state = self._look()
            key = (state.digest, laid, seeds)
            if key in self._plans:
                return state, self._plans[key]
            environment = Environment.of(self._python, self._root)
            found = self._found(environment, files, seeds)
            was_looked_at = state.complete or set(found.files) <= self._files.keys()
            if was_looked_at and environment == self._environment:
                if len(self._plans) > 64:
                    self._plans.clear()
                self._plans[key] = found
                return state, found
            # The state must be one of all that the plan was made from.
            self._environment = environment
            if len(self._files) > 8 * _MOST_FILES:
                self._files.clear()
            self._files |= dict.fromkeys(found.files)

    def _look(self) -> Fingerprint:
        if self._environment is None:
            self._environment = Environment.of(self._python, self._root)
        folders = self._environment
        return freshness.look(
            self._root, folders.packages, folders.linked, self._files, _our_folders()
        )

    def _found(
        self, environment: Environment, files: Mapping[Path, str], seeds: Iterable[Path]
    ) -> Preload:
        reading = _Reading(self._root, environment, files, self._scans)
        reading.read(seeds)
        if reading.tops & _FIRST:
            return Preload(files=reading.files)
        own = _own_names(self._root, environment)
        forbidden = {*_DENIED, *own, *(name.partition(".")[0] for name in reading.named)}
        forbidden |= _configured(reading.variables, {*reading.tops, "numpy", "torch", "hypothesis"})
        names = [
            dotted
            for wanted in reading.wanted
            for dotted in _dotted(environment, wanted)
            if wanted.module.partition(".")[0] not in forbidden
        ]
        here = {n for n in forbidden if n.isidentifier() and environment.locate(n) is not None}
        return Preload(
            tuple(dict.fromkeys(names)), frozenset(here), reading.warnings, reading.files
        )


class _Reading:
    """One search through the project's files for what they import."""

    def __init__(
        self,
        root: Path,
        environment: Environment,
        laid: Mapping[Path, str],
        scans: dict[object, Scan],
    ) -> None:
        self._root = root
        self._laid = laid
        self._scans = scans
        self._left = _MOST_BYTES
        self._roots: dict[Path, None] = dict.fromkeys(
            (root, root / "src", root / "lib", *environment.own)
        )
        self._queue: dict[Path, bool] = {}
        self.wanted: dict[Wanted, None] = {}
        self.variables: set[str] = set()
        self.named: set[str] = set()
        self.warnings = False

    @property
    def files(self) -> tuple[Path, ...]:
        """What was read, or looked for."""
        return tuple(self._queue)

    @property
    def tops(self) -> set[str]:
        """Top-level names of what is imported."""
        return {wanted.module.partition(".")[0] for wanted in self.wanted}

    def read(self, seeds: Iterable[Path]) -> None:
        """Read the seeds, the configuration that is in force for them, and what they import."""
        seeds = list(seeds)
        folders = dict.fromkeys(
            folder for path in seeds for folder in reversed(_steps(self._root, path.parent))
        )
        self._configure([*folders] or [self._root])
        for path in [*(folder / "conftest.py" for folder in folders), *seeds]:
            self._roots[_base(path)] = None
            self._queue[path] = True
        done = 0
        while done < min(len(self._queue), _MOST_FILES) and self._left > 0:
            path = list(self._queue)[done]
            done += 1
            self._take(path, self._scan(path), deep=self._queue[path])

    def _configure(self, folders: Iterable[Path]) -> None:
        for folder in folders:
            for name in _INI:
                text = self._text(folder / name)
                self._queue_if_there(folder / name, text)
                if found := _PYTHONPATH.search(text):
                    for word in re.split(r"""[\s,"'\[\]]+""", found[1]):
                        self._roots[Path(os.path.normpath(folder / word))] = None
                self.warnings = self.warnings or bool(_WARNING_ERRORS.search(text))
                if re.search(r"^\s*(?:env|D:.*)\s*=", text, re.MULTILINE):
                    self.variables.update(_VARIABLE.findall(text))
            self.variables.update(_VARIABLE.findall(self._text(folder / ".env")))

    def _queue_if_there(self, path: Path, text: str) -> None:
        if text:
            self._queue.setdefault(path, False)

    def _take(self, path: Path, scan: Scan, *, deep: bool) -> None:
        self.variables |= scan.variables
        self.named |= scan.named
        for wanted in [*scan.certain, *(scan.possible if deep else ())]:
            inside = list(self._within(path, wanted))
            for found in inside:
                self._queue.setdefault(found, False)
            if not inside and not wanted.level:
                self.wanted[wanted] = None

    def _within(self, path: Path, wanted: Wanted) -> Iterator[Path]:
        """The project's files that an import statement in `path` runs."""
        bases = [path.parents[wanted.level - 1]] if wanted.level else list(self._roots)
        parts = wanted.module.split(".") if wanted.module else []
        for base in bases:
            place = base.joinpath(*parts)
            if is_file(place.with_name(f"{place.name}.py")) and parts:
                yield place.with_name(f"{place.name}.py")
            elif not is_dir(place):
                continue
            for depth in range(1, len(parts) + 1):
                package = base.joinpath(*parts[:depth], "__init__.py")
                if is_file(package):
                    yield package
            for name in wanted.names:
                if is_file(place / f"{name}.py"):
                    yield place / f"{name}.py"
                elif is_file(place / name / "__init__.py"):
                    yield place / name / "__init__.py"

    def _scan(self, path: Path) -> Scan:
        if path.suffix != ".py":
            return Scan()
        text = self._text(path)
        self._left -= len(text)
        key = (path, imports.essence(text))
        if key not in self._scans:
            if len(self._scans) > 4 * _MOST_FILES:
                self._scans.clear()
            self._scans[key] = imports.scan(text)
        return self._scans[key]

    def _text(self, path: Path) -> str:
        if path in self._laid:
            return self._laid[path]
        try:
            return path.read_text("utf-8", "replace") if path.stat().st_size < 500_000 else ""
        except OSError:
            return ""


def _our_folders() -> list[Path]:
    """Those that we write to ourselves: the project may be a folder above them."""
    found = []
    for folder in (paths.runtime_dir, paths.state_dir, paths.cache_dir):
        with contextlib.suppress(OciError):
            found.append(folder().resolve())
    return found


def _steps(root: Path, folder: Path) -> list[Path]:
    """The folder and those above it, up to and including the root."""
    return [step for step in (folder, *folder.parents) if step == root or root in step.parents]


def _base(path: Path) -> Path:
    """The folder that pytest puts into sys.path for a file: the first that is no package."""
    return next(folder for folder in path.parents if not is_file(folder / "__init__.py"))


def _dotted(environment: Environment, wanted: Wanted) -> Iterator[str]:
    """The modules that an import statement runs, where they are installed and slow to import."""
    parts = wanted.module.split(".")
    if not environment.is_heavy(parts[0]):
        return
    while environment.locate(".".join(parts)) is None:
        parts.pop()
    yield ".".join(parts)
    if len(parts) == wanted.module.count(".") + 1:
        below = [f"{wanted.module}.{name}" for name in wanted.names]
        yield from (dotted for dotted in below if environment.locate(dotted) is not None)


def _configured(variables: Iterable[str], tops: Iterable[str]) -> set[str]:
    """Modules that read one of the environment variables when they are imported."""
    found: set[str] = set()
    names = set(tops)
    for variable in variables:
        for prefix, readers in _READERS.items():
            if variable.startswith(prefix) if prefix.endswith("_") else variable == prefix:
                found.update(readers)
        found |= {name for name in names if (variable + "_").startswith(name.upper() + "_")}
    return found


def _own_names(root: Path, environment: Environment) -> set[str]:
    """Top-level names that the project's folders can give, wherever sys.path may point."""
    names: set[str] = set()
    left = 2 * freshness.MOST_ENTRIES
    for start in (root, *environment.linked):
        for folder, folders, files in os.walk(start):
            if "pyvenv.cfg" in files or "conda-meta" in folders:
                folders.clear()
                continue
            is_package = "__init__.py" in files
            folders[:] = [name for name in folders if freshness.counts(name)]
            left -= len(folders) + len(files)
            if left < 0:
                break
            if is_package and Path(folder) != start:
                continue
            names.update(name.partition(".")[0] for name in files if name.endswith((".py", ".so")))
            names.update(name for name in folders if is_file(Path(folder, name, "__init__.py")))
    return names
