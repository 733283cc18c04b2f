"""pytest's options as projects set them: in each kind of ini file, and in addopts."""

from __future__ import annotations

from collections.abc import Mapping

from tests.verify.projects.shape import ADD, NODE, SAYS, TEST, Shape

_MARKED = TEST.replace("def test", "@pytest.mark.quick\ndef test").replace(
    "from", "import pytest\nfrom"
)
_WARNS = "import warnings\n" + TEST.replace("    assert", "    warnings.warn('old')\n    assert")

# pytest-asyncio, where it is installed, warns of its absence.
_LOOP = "asyncio_default_fixture_loop_scope = function"


def _ini(
    name: str,
    options: str,
    *,
    needs: tuple[str, ...] = (),
    says: str = SAYS,
    files: Mapping[str, str] | None = None,
) -> Shape:
    """A shape with these lines below [pytest] in pytest.ini."""
    return Shape(
        name, {"pytest.ini": f"[pytest]\n{options}\n", **(files or {})}, needs=needs, says=says
    )


SHAPES = (
    Shape(
        "pyproject.toml", {"pyproject.toml": "[tool.pytest.ini_options]\naddopts = ['-ra', '-q']\n"}
    ),
    Shape("tox.ini", {"tox.ini": "[tox]\nenvlist = py\n[pytest]\naddopts = -ra\n"}),
    Shape("setup.cfg", {"setup.cfg": "[metadata]\nname = x\n[tool:pytest]\naddopts = -ra\n"}),
    Shape(
        "several ini files, the first of them counts",
        {"pytest.ini": "[pytest]\n", "tox.ini": "[pytest]\naddopts = --nonsense\n"},
    ),
    _ini("-x, -q and --maxfail", "addopts = -x -q --maxfail=1"),
    _ini("-vv with long tracebacks and local values", "addopts = -vv -l --tb=long --color=yes"),
    _ini("-s", "addopts = -s"),
    _ini("--capture=sys", "addopts = --capture=sys"),
    _ini(
        "-m and -k that leave the test in",
        "addopts = -m 'not slow' -k 'add' --strict-markers\nmarkers =\n    slow: slow\n"
        "    quick: q",
        files={"tests/test_calc.py": _MARKED},
    ),
    _ini("-p no: of several plugins", "addopts = -p no:cacheprovider -p no:doctest -p no:unittest"),
    _ini("-p no:terminal and no:logging", "addopts = -p no:logging -p no:warnings"),
    _ini("-p no:randomly for a plugin that is not there", "addopts = -p no:randomly -p no:xvfb"),
    _ini(
        "-p of a plugin of the project",
        "addopts = -p helping",
        files={
            "helping.py": "import pytest\n\n@pytest.fixture\ndef two():\n    return 2\n",
            "tests/test_calc.py": TEST.replace("test_add()", "test_add(two)").replace(
                "2, ", "two, "
            ),
        },
    ),
    _ini("--doctest-modules beside tests", "addopts = --doctest-modules"),
    _ini("xdist: -n auto", "addopts = -n auto --dist=loadscope", needs=("xdist",)),
    _ini("xdist: --tx and -d", "addopts = -d --tx 2*popen", needs=("xdist",)),
    _ini("xdist: numprocesses in a long option", "addopts = --numprocesses=2", needs=("xdist",)),
    _ini(
        "xdist: --forked's cousin, maxprocesses", "addopts = -n2 --maxprocesses=2", needs=("xdist",)
    ),
    _ini(
        "coverage with a limit that one test misses",
        "addopts = --cov=calc --cov-report=html --cov-fail-under=100",
        needs=("pytest_cov",),
        files={"calc.py": ADD + "\n\ndef other():\n    return 1\n"},
    ),
    _ini("coverage beside xdist", "addopts = --cov -n 2", needs=("pytest_cov", "xdist")),
    _ini("-W error", "addopts = -W error\n" + _LOOP),
    _ini("filterwarnings = error", "filterwarnings = error\n" + _LOOP),
    _ini(
        "filterwarnings = error with an exception",
        "filterwarnings =\n    error\n    ignore:old\n" + _LOOP,
        files={"tests/test_calc.py": _WARNS},
    ),
    _ini("--import-mode=append", "addopts = --import-mode=append"),
    _ini("--strict, as pytest has it", "addopts = --strict-markers --strict-config"),
    _ini(
        "-p no:cacheprovider under --strict-config",
        "addopts = -p no:cacheprovider --strict-config",
    ),
    _ini("xfail_strict", "xfail_strict = true"),
    _ini(
        "required_plugins and minversion",
        "required_plugins = pytest-asyncio>=0.1\nminversion = 6.0",
        needs=("pytest_asyncio",),
    ),
    _ini("log_cli and log_file", "log_cli = true\nlog_level = DEBUG\nlog_file = test.log"),
    _ini("a report of junit and durations", "addopts = --junitxml=report.xml --durations=3"),
    _ini(
        "--basetemp in the project",
        "addopts = --basetemp=tmp",
        files={"tests/test_calc.py": TEST.replace("test_add()", "test_add(tmp_path)")},
    ),
    _ini("cache_dir and --ff, --lf, --sw", "cache_dir = .cache\naddopts = --ff --new-first"),
    _ini("the last failed ones only", "addopts = --lf"),
    _ini("step by step", "addopts = --sw"),
    _ini("-o of other options", "addopts = -o console_output_style=count -o xfail_strict=true"),
    _ini(
        "--ignore and --deselect of others",
        "addopts = --ignore=old --deselect tests/test_calc.py::x",
    ),
    _ini("--pyargs", "addopts = --pyargs"),
    _ini("--rootdir", "addopts = --rootdir=tests"),
    _ini(
        "console_output_style and verbosity",
        "console_output_style = progress\nverbosity_assertions = 2",
        says="returned -1, expected 5",
    ),
    _ini(
        "usefixtures",
        "usefixtures = always",
        files={"conftest.py": "import pytest\n\n@pytest.fixture\ndef always():\n    yield\n"},
    ),
    _ini(
        "a time limit of pytest-timeout",
        "timeout = 30\ntimeout_method = thread",
        needs=("pytest_timeout",),
    ),
    _ini(
        "a time limit by signal", "timeout = 30\ntimeout_method = signal", needs=("pytest_timeout",)
    ),
    _ini("--assert=plain", "addopts = --assert=plain", says="add(2, 3)"),
    _ini("faulthandler_timeout", "faulthandler_timeout = 20"),
    _ini("--setup-show", "addopts = --setup-show"),
    _ini("--collect-only is the project's own joke", "addopts = --no-header --no-summary"),
    Shape(
        "a conftest that sorts, adds options and hooks",
        {
            "conftest.py": "def pytest_addoption(parser):\n    parser.addoption('--slow',"
            " action='store_true')\n\ndef pytest_collection_modifyitems(config, items):\n"
            "    assert not config.getoption('--slow')\n"
            "    items.sort(key=lambda item: item.name)\n"
            "\ndef pytest_configure(config):\n    config.addinivalue_line('markers', 'quick: q')\n",
            "pytest.ini": "[pytest]\naddopts = --strict-markers\n",
            "tests/test_calc.py": _MARKED,
        },
        (NODE,),
    ),
    Shape(
        "a conftest that makes failures prettier",
        {
            "conftest.py": "import pytest\n\ndef pytest_assertrepr_compare(op, left, right):\n"
            "    return ['these two differ', f'{left} {op} {right}']\n\n"
            "@pytest.hookimpl(hookwrapper=True)\ndef pytest_runtest_makereport(item, call):\n"
            "    outcome = yield\n    outcome.get_result().sections.append(('note', 'x'))\n",
        },
    ),
    Shape(
        "PYTEST_ADDOPTS does not come in",
        env={"PYTEST_ADDOPTS": "--nonsense"},
    ),
    Shape(
        "a file of collect_ignore",
        {
            "conftest.py": "collect_ignore = ['setup.py']\ncollect_ignore_glob = ['old/*']\n",
            "setup.py": "raise SystemExit('not a test')\n",
        },
    ),
)
