"""What a standby imports ahead: what is installed and large, and nothing that a test could tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from oci_lsp.verify import freshness
from oci_lsp.verify.environment import Environment
from oci_lsp.verify.preload import Planner, Preload
from oci_lsp.verify.verdict import Report
from tests.verify.conftest import Project
from tests.verify.installed import Installed, package

GOOD = "def add(a, b):\n    return a + b\n"
# In two parts: a test that names a module beside `sys.modules` has it kept out.
AHEAD = "import sys\nassert ('bul' + 'ky') in sys.modules\n"
NOT_AHEAD = "import sys\nassert ('bul' + 'ky') not in sys.modules\n"
TEST = "from calc import add\n\ndef test_add():\n    assert add(2, 3) == 5\n"


@pytest.fixture
def installed(project: Project) -> Installed:
    made = Installed(project.root / ".venv")
    project.set(standby=1, interpreter=str(made.folder))
    return made


async def judged(project: Project, text: str = GOOD) -> tuple[Report, int]:
    """The report of a run with a standby, and how many kernels were started for the standby."""
    async with project.verifier() as verifier:
        await verifier.prepare([project.root / "calc.py", project.root / "tests/test_calc.py"])
        await verifier.ready()
        started = verifier.kernels_started
        report = await verifier.run(project.a_run(text))
        assert verifier.standbys_taken == 1
        return report, started


def planned(project: Project, installed: Installed, **laid: str) -> Preload:
    planner = Planner(project.root, installed.folder / "bin/python")
    files = {project.root / f"{name}.py": text for name, text in laid.items()}
    seeds = [project.root / "calc.py", project.root / "tests/test_calc.py"]
    return planner.find(files, seeds)[1]


# -- with real kernels -------------------------------------------------------------------------


@pytest.mark.parametrize("importer", ["tests/test_calc.py", "conftest.py", "tests/helper.py"])
async def test_a_large_package_is_imported_ahead(
    project: Project, installed: Installed, importer: str
):
    installed.install("bulky", "")
    project.write("tests/test_calc.py", "import helper\n" + TEST)
    project.write("tests/helper.py", "")
    path = project.root / importer
    text = path.read_text() if path.exists() else ""
    # The conftest is read, not run, for this: what it asserts would fail there.
    project.write(importer, f"{AHEAD}import bulky\n{text}")
    report, started = await judged(project)
    assert report.verdict == "passed", report.feedback
    assert started == 1


@pytest.mark.parametrize("layout", ["flat", "src", "editable", "tests"])
async def test_a_module_of_the_project_is_not_imported_ahead(
    project: Project, installed: Installed, layout: str
):
    """Though an installed one of that name would be."""
    installed.install("bulky", "raise RuntimeError('the installed one')\n")
    folder = {"flat": "bulky", "src": "src/bulky", "editable": "code/bulky", "tests": "tests/bulky"}
    own = package(project.root / folder[layout], "")
    if layout == "src":
        project.write("pytest.ini", "[pytest]\npythonpath = src\n")
    elif layout == "editable":
        # Before what is installed beside it, as an import hook has it.
        (installed.site / "__editable__.pth").write_text(
            f"import sys; sys.path.insert(0, {str(own.parent)!r})\n"
        )
    project.write("tests/test_calc.py", f"{NOT_AHEAD}import bulky\n{TEST}")
    report, _ = await judged(project)
    assert report.verdict == "passed", report.feedback


BEFORE_IT_IS_IMPORTED = {
    "an environment variable": (
        "import os\nMODE = os.environ.get('BULKY_MODE')\n",
        "import os\nos.environ['BULKY_MODE'] = 'x'\n",
        "import bulky\nassert bulky.MODE == 'x'\n",
    ),
    "a stand-in": (
        "raise RuntimeError('the installed one')\n",
        "import sys\nfrom pathlib import Path\n"
        "sys.path.insert(0, str(Path(__file__).parent / 'fakes'))\n",
        "import bulky\nassert bulky.FAKE\n",
    ),
    "a stand-in written by the test": (
        "",
        "import sys, tempfile\nfrom pathlib import Path\nfolder = Path(tempfile.mkdtemp())\n"
        "(folder / 'bulky.py').write_text('FAKE = True')\nsys.path.insert(0, str(folder))\n",
        "import bulky\nassert bulky.FAKE\n",
    ),
    "a look into sys.modules": (
        "",
        "",
        "import sys\nassert 'bulky' not in sys.modules\nimport bulky\n",
    ),
    "another module that chooses a backend": (
        "import matplotlib\n",
        "import sys\nassert ('matplot' + 'lib') not in sys.modules\n",
        "import bulky\n",
    ),
}


@pytest.mark.parametrize("kind", BEFORE_IT_IS_IMPORTED)
async def test_what_tests_set_up_before_an_import_counts(
    project: Project, installed: Installed, kind: str
):
    package_text, conftest, test = BEFORE_IT_IS_IMPORTED[kind]
    installed.install("bulky", package_text)
    installed.install("matplotlib", "")
    project.write("fakes/bulky.py", "FAKE = True\n") if kind == "a stand-in" else None
    project.write("conftest.py", conftest)
    project.write("tests/test_calc.py", test + TEST)
    report, _ = await judged(project)
    assert report.verdict == "passed", report.feedback


async def test_a_warning_at_import_is_the_same_error_as_without_a_standby(
    project: Project, installed: Installed
):
    installed.install("bulky", "import warnings\nwarnings.warn('old', DeprecationWarning)\n")
    project.write("pytest.ini", "[pytest]\nfilterwarnings =\n    error:old\n")
    project.write("tests/test_calc.py", "import bulky\n" + TEST)
    with_standby, _ = await judged(project)
    project.set(standby=0)
    without = await project.verify(GOOD)
    assert "DeprecationWarning: old" in without.summary
    assert (with_standby.verdict, with_standby.summary) == (without.verdict, without.summary)


@pytest.mark.parametrize("harm", ["import os; os._exit(3)", "raise SystemExit", "1 / 0"])
async def test_a_package_that_cannot_be_imported_harms_only_who_imports_it(
    project: Project, installed: Installed, harm: str
):
    installed.install("bulky", harm + "\n")
    project.write("tests/test_calc.py", f"{TEST}\ndef test_other():\n    import bulky\n")
    report, started = await judged(project)
    assert report.verdict == "passed", report.feedback
    assert started == 2  # the second one without it


# -- the plan alone ----------------------------------------------------------------------------


def test_imports_are_followed_through_the_project(project: Project, installed: Installed):
    for name in ("bulky", "unused", "lazy", "typed", "below"):
        package(installed.site / name / "inner", "")
        (installed.site / name / "__init__.py").write_text("")
    (installed.site / "small.py").write_text("")
    project.write("calc.py", "from src_like import one\nimport os, small\n")
    project.write("src_like/__init__.py", "")
    project.write("src_like/one.py", "from . import two\nfrom .three import four\n")
    project.write(
        "src_like/two.py",
        "from typing import TYPE_CHECKING\ntry:\n    import bulky.inner.part3\nexcept ImportError:"
        "\n    bulky = None\nif TYPE_CHECKING:\n    import typed\n",
    )
    project.write("src_like/three.py", "def four():\n    import lazy\n")
    project.write("tests/test_calc.py", "def test_add():\n    from below import inner\n")
    project.write("unrelated.py", "import unused\n")
    assert set(planned(project, installed).names) == {
        "bulky.inner.part3",
        "below",
        "below.inner",
    }


def test_unsaved_text_counts_and_broken_text_does_no_harm(project: Project, installed: Installed):
    installed.install("bulky", "")
    assert planned(project, installed).names == ()
    assert planned(project, installed, calc="import bulky\n").names == ("bulky",)
    assert planned(project, installed, calc="import bulky\ndef (:\n").names == ("bulky",)


@pytest.mark.parametrize(
    ("variable", "kept"), [("OMP_NUM_THREADS", False), ("DATABASE_URL", True), ("NUMPY_X", False)]
)
def test_threads_of_numbers_are_set_before_numpy(
    project: Project, installed: Installed, variable: str, kept: bool
):
    installed.install("numpy", "")
    project.write("conftest.py", f"import os\nos.environ.setdefault({variable!r}, '1')\n")
    project.write("tests/test_calc.py", "import numpy\n" + TEST)
    plan = planned(project, installed)
    assert plan.names == (("numpy",) if kept else ())
    assert ("numpy" in plan.forbidden) != kept


def test_nothing_goes_before_gevent(project: Project, installed: Installed):
    installed.install("bulky", "")
    project.write("tests/test_calc.py", "from gevent import monkey\nimport bulky\n" + TEST)
    assert planned(project, installed).names == ()


def test_a_plan_serves_a_run_that_imports_more_but_none_that_imports_less():
    bulky = Preload(("bulky",), frozenset({"own"}))
    assert bulky.serves(Preload(("bulky", "more"), frozenset({"own"})))
    assert not bulky.serves(Preload((), frozenset({"own"})))
    assert not bulky.serves(Preload(("bulky",), frozenset({"own", "looked_up"})))
    assert not bulky.serves(Preload(("bulky",), frozenset({"own"}), warnings=True))


def test_the_environment_is_found_without_running_it(project: Project, tmp_path: Path):
    installed = Installed(project.root / ".venv")
    installed.install("bulky", "raise SystemExit")
    (tmp_path / "linked").mkdir()
    installed.add_path("linked", tmp_path / "linked")
    installed.add_path("own", project.root / "tests")
    environment = Environment.of(installed.folder / "bin/python", project.root)
    assert environment.packages[0] == installed.site
    assert Path(pytest.__file__).parents[1] in environment.packages
    assert environment.linked == ((tmp_path / "linked").resolve(),)
    assert environment.own == ((project.root / "tests").resolve(),)
    assert environment.is_heavy("bulky")
    assert not environment.is_heavy("os")


# -- the fingerprint alone ---------------------------------------------------------------------


def test_a_save_of_the_same_size_or_in_a_linked_folder_is_noticed(tmp_path: Path):
    root, linked = tmp_path / "root", tmp_path / "linked"
    for folder in (root, linked):
        folder.mkdir()
        (folder / "a.py").write_text("x = 1\n")
    seen = {freshness.look(root, [], [linked])}
    for path in (root / "a.py", linked / "a.py"):
        new = path.with_suffix(".new")
        new.write_text("x = 2\n")
        new.rename(path)
        seen.add(freshness.look(root, [], [linked]))
    (root / "sub").mkdir()
    seen.add(freshness.look(root, [], [linked]))
    assert len(seen) == 4


def test_of_a_large_project_the_files_that_a_run_reads_count(tmp_path: Path):
    deep = tmp_path / "a/b/c/test_deep.py"
    deep.parent.mkdir(parents=True)
    deep.write_text("")
    for number in range(freshness.MOST_ENTRIES):
        (tmp_path / f"{number}.txt").touch()
    before = freshness.look(tmp_path, [], [], [deep])
    assert not before.complete
    deep.write_text("changed")
    assert freshness.look(tmp_path, [], [], [deep]) != before


def test_linked_folders_share_one_bound(tmp_path: Path):
    project, *linked = (tmp_path / name for name in ("project", "one", "two"))
    for folder in (project, *linked):
        folder.mkdir()
    half = freshness.MOST_ENTRIES // 2
    for folder in linked:
        for number in range(half):
            (folder / f"{number}.py").touch()
    assert freshness.look(project, [], linked).complete
    (linked[0] / "one_more.py").touch()
    assert not freshness.look(project, [], linked).complete
