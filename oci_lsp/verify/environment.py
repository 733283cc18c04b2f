"""What is installed for a project's Python, found without running anything of it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from oci_lsp.paths import is_dir, is_file

_PACKAGES = ("site-packages", "dist-packages")
# A package of so many files takes tenths of a second; so does one with an extension module, mostly.
_HEAVY_FILES = 15
_EXTENSIONS = (".so", ".pyd")


@dataclass
class Environment:
    """The folders from which a project's Python imports what is not its standard library.

    Attributes:
        packages: site-packages folders, in the order of the search.
        own: folders within the project that .pth files add (editable installs).
        linked: folders elsewhere that .pth files add.
    """

    packages: tuple[Path, ...]
    own: tuple[Path, ...]
    linked: tuple[Path, ...]
    _heavy: dict[str, bool] = field(default_factory=dict, compare=False)

    @staticmethod
    def of(python: Path, root: Path) -> Environment:
        """The environment of an interpreter, as its folders say."""
        packages = dict.fromkeys(_site_folders(python))
        own: dict[Path, None] = {}
        linked: dict[Path, None] = {}
        for folder in tuple(packages):
            for path in _pth_entries(folder):
                if path.name in _PACKAGES:
                    packages[path] = None
                elif path == root or root in path.parents:
                    own[path] = None
                elif path not in root.parents:
                    linked[path] = None
        return Environment(tuple(packages), tuple(own), tuple(linked))

    def locate(self, dotted: str) -> Path | None:
        """The file or folder of an installed module; None: there is none of that name."""
        head, *tail = dotted.split(".")
        for packages in self.packages:
            if found := _module(packages, head):
                for name in tail:
                    below = _module(found, name) if is_dir(found) else None
                    if below is None:
                        return None
                    found = below
                return found
        return None

    def is_heavy(self, name: str) -> bool:
        """Whether a top-level module is installed and slow to import."""
        if name not in self._heavy:
            path = self.locate(name)
            self._heavy[name] = path is not None and _is_heavy(path)
        return self._heavy[name]


def _module(folder: Path, name: str) -> Path | None:
    package = folder / name
    if is_dir(package):
        return package
    source = folder / f"{name}.py"
    if is_file(source):
        return source
    return next((path for path in folder.glob(f"{name}.*") if path.suffix in _EXTENSIONS), None)


def _is_heavy(path: Path) -> bool:
    if not is_dir(path):
        return path.suffix in _EXTENSIONS
    count = 0
    for _, folders, names in os.walk(path):
        folders[:] = [name for name in folders if name not in ("tests", "test", "__pycache__")]
        if any(name.endswith(_EXTENSIONS) for name in names):
            return True
        count += sum(name.endswith(".py") for name in names)
        if count >= _HEAVY_FILES:
            return True
    return False


def _site_folders(python: Path) -> list[Path]:
    prefix = python.parent.parent
    prefixes = [prefix]
    isolated = False
    try:
        config = (prefix / "pyvenv.cfg").read_text("utf-8", "replace").splitlines()
    except OSError:
        config = []
        if python.is_symlink():  # a link to an installation's python that is in no environment
            prefixes.append(python.resolve().parent.parent)
    for line in config:
        key, _, value = (part.strip() for part in line.partition("="))
        if key == "include-system-site-packages":
            isolated = value.lower() != "true"
        elif key == "home":
            prefixes.append(Path(value).parent)
    if isolated:
        prefixes = [prefix]
    name = python.resolve().name
    version = name if re.fullmatch(r"python3\.\d+t?", name) else "python3.*"
    patterns = [f"{lib}/{version}/site-packages" for lib in ("lib", "lib64", "local/lib")] + [
        f"{lib}/dist-packages" for lib in (f"local/lib/{version}", "lib/python3")
    ]
    found = [path for each in prefixes for pattern in patterns for path in each.glob(pattern)]
    if not isolated:
        found += Path.home().glob(f".local/lib/{version}/site-packages")
    unique: dict[Path, Path] = {}
    for path in found:  # lib64 is a link to lib, mostly
        unique.setdefault(path.resolve(), path)
    return list(unique.values())


def _pth_entries(folder: Path) -> list[Path]:
    entries = []
    for file in sorted(folder.glob("*.pth")):
        try:
            lines = file.read_text("utf-8", "replace").splitlines()
        except OSError:
            continue
        for line in map(str.strip, lines):
            if line and not line.startswith(("#", "import ", "import\t")):
                path = Path(os.path.normpath(folder / line))
                if is_dir(path):
                    entries.append(path.resolve())
    return entries
