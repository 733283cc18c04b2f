"""What a verdict costs: a kernel's start, a standby, three sample projects beside pytest, memory.

    python scripts/bench_verify.py [--rounds 10] [--projects tiny,numbers,many] [--json FILE]

Each round runs everything that is compared one after the other, so that a ratio holds where seconds
do not: a machine's slow minute is everybody's. The virtual environments are made once, in the
user's cache directory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from oci_lsp import paths
from oci_lsp.settings import VerifySettings
from oci_lsp.verify import sandbox
from oci_lsp.verify.kernel import tree_bytes
from oci_lsp.verify.pool import Verifier
from oci_lsp.verify.verdict import Candidate, Run

Samples = dict[str, list[float]]

PLUGINS = ("pytest", "pytest-asyncio", "pytest-timeout", "pytest-xdist", "pytest-cov", "hypothesis")
# Everything that is imported once is: pytest itself, its plugins, what the project needs, and what
# only a first run imports. What is left is what pytest does for this one test.
IN_PROCESS = """
import contextlib, importlib, io, sys, tempfile, time, warnings
warnings.simplefilter("ignore")
import pytest
node, *ahead = sys.argv[1:]
for name in ahead:
    importlib.import_module(name)
sys.path.insert(0, "")
options = ["-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
with tempfile.TemporaryDirectory() as folder:
    with open(folder + "/test_first.py", "w") as file:
        file.write("def test_first():\\n    assert True\\n")
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main([*options, "-c", "/dev/null", "--rootdir", folder, folder + "/test_first.py"])
started = time.perf_counter()
with contextlib.redirect_stdout(io.StringIO()):
    status = pytest.main([*options, node])
seconds = time.perf_counter() - started
assert status == 0, status
print(seconds)
"""
# Children in sessions of their own, deaf to signals that can be ignored, and a parent that hangs.
HOSTILE = """
    import os, signal, time
    for _ in range(8):
        if os.fork() == 0:
            os.setsid()
            for number in range(1, 32):
                if number not in (signal.SIGKILL, signal.SIGSTOP):
                    signal.signal(number, signal.SIG_IGN)
            time.sleep(600)
    while True:
        pass
"""


@dataclass(frozen=True)
class Project:
    """A sample project: a function, the test that is run for it, what it imports."""

    name: str
    what: str
    root: Path
    python: Path
    module: str
    function: str
    node: str
    ahead: tuple[str, ...] = ()

    def run(self, *, hostile: bool = False, confirm: bool = False) -> Run:
        """A run of the right function, or of one that has to be killed."""
        path = self.root / self.module
        text = path.read_text()
        if hostile:
            head = f"def {self.function}(rows):\n"
            text = text.replace(head, head + HOSTILE)
        return Run(
            files={path: text},
            node_ids=(self.node,),
            candidate=Candidate(path, self.function, self.function, (0, text.count("\n"))),
            timeout=1.0 if hostile else 60.0,
            confirm=confirm,
        )

    @property
    def sources(self) -> list[Path]:
        """What the loop names when it has standbys started."""
        return [self.root / self.module, self.root / self.node.partition("::")[0]]

    def settings(self, standby: int) -> VerifySettings:
        """The defaults, with so many standbys."""
        return replace(VerifySettings(), interpreter=str(self.python), standby=standby)


@dataclass
class Result:
    """Seconds of one project by what was measured, and megabytes."""

    what: str
    seconds: Samples = field(default_factory=dict)
    megabytes: Samples = field(default_factory=dict)

    def ratio(self, one: str, other: str) -> float:
        """The median of the rounds' ratios."""
        pairs = zip(self.seconds[one], self.seconds[other], strict=True)
        return statistics.median(a / b for a, b in pairs)


# -- the projects ------------------------------------------------------------------------------


def environment(name: str, packages: Sequence[str]) -> Path:
    """The Python of a virtual environment with the packages, made on first use."""
    folder = paths.cache_dir() / "bench-venvs" / name
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        print(f"making {folder} ({', '.join(packages)}) ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *packages], check=True)
        (folder / ".ready").touch()
    return python


def write(root: Path, files: dict[str, str]) -> None:
    """Write the files of a project."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def tiny(root: Path) -> Project:
    """One function, one test, nothing imported."""
    test = "from calc import total\n\n\ndef test_total():\n    assert total([1, 2]) == 3\n"
    write(root, {"calc.py": "def total(rows):\n    return sum(rows)\n", "test_calc.py": test})
    what, python = "one function in pure Python", environment("plain", ("pytest",))
    return Project("tiny", what, root, python, "calc.py", "total", "test_calc.py::test_total")


def numbers(root: Path) -> Project:
    """A function over a pandas frame."""
    write(
        root,
        {
            "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["."]\n',
            "stats.py": "import numpy as np\nimport pandas as pd\n\n\ndef totals(rows):\n"
            '    frame = pd.DataFrame(rows, columns=["key", "value"])\n'
            '    return frame.groupby("key")["value"].sum().astype(np.int64).to_dict()\n',
            "tests/test_stats.py": "import pandas as pd\n\nfrom stats import totals\n\n\n"
            'def test_totals():\n    rows = [("a", 1), ("b", 2), ("a", 3)]\n'
            '    assert totals(rows) == {"a": 4, "b": 2}\n'
            "    assert pd.Series(totals(rows)).sum() == 6\n",
        },
    )
    python = environment("numbers", ("pytest", "numpy", "pandas"))
    what, node = "numpy and pandas", "tests/test_stats.py::test_totals"
    return Project("numbers", what, root, python, "stats.py", "totals", node, ("numpy", "pandas"))


def many(root: Path) -> Project:
    """A package of 30 modules, 300 tests in 30 files, plugins; one of the tests is run."""
    files = {
        "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["src"]\n'
        'addopts = "--strict-markers"\nasyncio_default_fixture_loop_scope = "function"\n',
        "src/shop/__init__.py": "",
        "tests/conftest.py": "import pytest\n\n\n@pytest.fixture\ndef rows():\n    return [1, 2]\n",
    }
    for number in range(30):
        before = f"from shop import part{number - 1}\n" if number else ""
        code = (
            f"{before}import dataclasses\nimport json\n\n\ndef total(rows):\n    return sum(rows)\n"
        )
        tests = "".join(
            f"\n\ndef test_total_{case}(rows):\n    assert total([*rows, {case}]) == {3 + case}\n"
            for case in range(10)
        )
        files[f"src/shop/part{number}.py"] = code
        files[f"tests/test_part{number}.py"] = f"from shop.part{number} import total\n{tests}"
    write(root, files)
    ahead = ("pytest_asyncio.plugin", "pytest_timeout", "xdist.plugin", "pytest_cov.plugin")
    return Project(
        "many",
        "300 tests of 30 modules, one of them run; five plugins",
        root,
        environment("plugins", PLUGINS),
        "src/shop/part29.py",
        "total",
        "tests/test_part29.py::test_total_5",
        (*ahead, "_hypothesis_pytestplugin"),
    )


MAKERS = {"tiny": tiny, "numbers": numbers, "many": many}


# -- measuring ---------------------------------------------------------------------------------


@contextmanager
def timed(into: Samples, what: str) -> Iterator[None]:
    """Append the seconds that the block takes."""
    started = time.perf_counter()
    yield
    into.setdefault(what, []).append(time.perf_counter() - started)


@contextmanager
def without_overlay(folder: Path) -> Iterator[None]:
    """As on a file system that cannot be an overlay's lower layer: bubblewrap fails to mount it."""
    real = sandbox.find_bwrap
    program = folder / "bwrap"
    program.write_text(
        '#!/bin/sh\nfor word in "$@"; do [ "$word" = --tmp-overlay ] && exit 1; done\n'
        f'exec {real()[-1]} "$@"\n'
    )
    program.chmod(0o755)
    sandbox.find_bwrap = lambda: [program]
    try:
        yield
    finally:
        sandbox.find_bwrap = real


def idle_megabytes() -> float:
    """What all of our children use, shared pages in proportion."""
    return sum(tree_bytes(child.pid) for child in psutil.Process().children()) / (1 << 20)


async def passed(verifier: Verifier, run: Run) -> None:
    """Run; anything else than a pass ends the benchmark."""
    report = await verifier.run(run)
    assert report.verdict == "passed", report


async def started(verifier: Verifier, project: Project) -> None:
    """Have all standbys started."""
    await verifier.prepare(project.sources)
    await verifier.ready()


async def one_round(project: Project, result: Result) -> None:
    """Everything that is compared, once."""
    seconds = result.seconds
    async with Verifier(project.root, project.settings(1)) as verifier:
        with timed(seconds, "first verdict of a session"):
            await passed(verifier, project.run())
        with timed(seconds, "kernel start"):
            await started(verifier, project)
        with timed(seconds, "verdict"):
            await passed(verifier, project.run())
    command = [str(project.python), "-m", "pytest", "-q", "-p", "no:cacheprovider", project.node]
    quiet = subprocess.DEVNULL
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    with timed(seconds, "pytest process"):
        subprocess.run(command, cwd=project.root, env=clean, check=True, stdout=quiet, stderr=quiet)
    child = subprocess.run(
        [project.python, "-c", IN_PROCESS, project.node, *project.ahead],
        cwd=project.root,
        env=clean,
        check=True,
        stdout=subprocess.PIPE,
        stderr=quiet,
        text=True,
    )
    seconds.setdefault("pytest in process", []).append(float(child.stdout.split()[-1]))
    async with Verifier(project.root, project.settings(2)) as verifier:
        await started(verifier, project)
        with timed(seconds, "verdict, confirmed"):
            await passed(verifier, project.run(confirm=True))
        await started(verifier, project)
        assert (await verifier.run(project.run(hostile=True))).verdict == "timed_out"
        with timed(seconds, "verdict after a hostile candidate"):
            await passed(verifier, project.run())
        taken = verifier.standbys_taken
        assert taken >= 3, f"a standby was missed ({taken} taken)"


async def memory_and_copies(project: Project, result: Result, folder: Path) -> None:
    """An idle standby with and without imports ahead, and one of a copy of the project."""
    async with Verifier(project.root, project.settings(1)) as verifier:
        await verifier.prepare()
        with timed(result.seconds, "kernel start, nothing ahead"):
            await verifier.ready()
        result.megabytes.setdefault("idle, nothing ahead", []).append(idle_megabytes())
    async with Verifier(project.root, project.settings(1)) as verifier:
        await started(verifier, project)
        result.megabytes.setdefault("idle", []).append(idle_megabytes())
    with without_overlay(folder):
        async with Verifier(project.root, project.settings(1)) as verifier:
            await passed(verifier, project.run())
            with timed(result.seconds, "kernel start, copy"):
                await started(verifier, project)
            with timed(result.seconds, "verdict, copy"):
                await passed(verifier, project.run())


# -- telling -----------------------------------------------------------------------------------


def spread(seconds: Sequence[float]) -> str:
    """Median and worst, in milliseconds."""
    return f"{statistics.median(seconds) * 1000:.0f} ({max(seconds) * 1000:.0f})"


def table(results: dict[str, Result]) -> str:
    """Markdown: ratios first, then milliseconds as median (worst), then megabytes."""
    lines = ["| | " + " | ".join(f"{name}: {r.what}" for name, r in results.items()) + " |"]
    lines.append("|---|" + "---|" * len(results))

    def row(label: str, cells: Iterator[str]) -> None:
        lines.append(f"| {label} | " + " | ".join(cells) + " |")

    for one, other in (
        ("verdict", "pytest in process"),
        ("verdict, confirmed", "pytest in process"),
        ("verdict", "pytest process"),
        ("verdict, copy", "verdict"),
    ):
        row(f"**{one} / {other}**", (f"**{r.ratio(one, other):.2f}**" for r in results.values()))
    for what in next(iter(results.values())).seconds:
        row(f"{what}, ms", (spread(r.seconds[what]) for r in results.values()))
    for what in next(iter(results.values())).megabytes:
        row(
            f"{what}, MB", (f"{statistics.median(r.megabytes[what]):.0f}" for r in results.values())
        )
    return "\n".join(lines)


async def main(options: argparse.Namespace) -> None:
    """All projects in each round."""
    results: dict[str, Result] = {}
    with tempfile.TemporaryDirectory(prefix="oci-bench-") as name:
        folder = Path(name).resolve()
        projects = []
        for wanted in options.projects.split(","):
            (folder / wanted).mkdir()
            projects.append(MAKERS[wanted](folder / wanted))
            results[wanted] = Result(projects[-1].what)
        for number in range(options.rounds):
            for project in projects:
                print(f"round {number + 1}, {project.name}", file=sys.stderr)
                await one_round(project, results[project.name])
                await memory_and_copies(project, results[project.name], folder)
    version, cores = sys.version.split()[0], os.cpu_count()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{options.rounds} rounds, Python {version}, {cores} cores, load {load}\n")
    print(table(results))
    if options.json:
        data = {n: {"seconds": r.seconds, "megabytes": r.megabytes} for n, r in results.items()}
        Path(options.json).write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--projects", default=",".join(MAKERS), help="of tiny, numbers, many")
    parser.add_argument("--json", metavar="FILE", help="write every sample to this file")
    asyncio.run(main(parser.parse_args()))
