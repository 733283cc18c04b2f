"""What keeps an honest test from passing is named with its setting, and nothing else is."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.verify.conftest import Project

GOOD = "def add(a, b):\n    return a + b\n"
_NETWORK = "the setting verify.network lets"
_DEVICES = "the setting verify.devices lets"


async def summary(project: Project, body: str, *, head: str = "", **options: float) -> str:
    """The summary of a run whose test has this body."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    project.write(
        "tests/test_calc.py", f"import os, pytest, socket\nfrom calc import add\n\n{head}"
        f"def test_add():\n    add(1, 1)\n{lines}",
    )  # fmt: skip
    report = await project.verify(GOOD, **options)
    assert report.verdict != "passed"
    return report.summary


@pytest.mark.parametrize(
    "body",
    [
        "socket.getaddrinfo('example.org', 80)",
        "socket.create_connection(('192.0.2.1', 80), 5)",
        "import urllib.request\nurllib.request.urlopen('http://example.org')",
        "socket.create_connection(('127.0.0.1', 5432), 5)",
        "pytest.skip('needs the internet')",
    ],
)
async def test_the_network(project: Project, body: str):
    assert _NETWORK in await summary(project, body)
    project.set(network=True)
    if "5432" in body:
        assert "verify." not in await summary(project, body)


@pytest.mark.parametrize(
    "body",
    [
        "open('/dev/nvidia0')",
        "raise RuntimeError('No CUDA GPUs are available')",
        "pytest.skip('no GPU here')",
    ],
)
async def test_devices(project: Project, body: str):
    assert _DEVICES in await summary(project, body)


@pytest.mark.parametrize(
    "body",
    [
        "os.environ['CALC_TOKEN']",
        "int(os.getenv('CALC_TOKEN'))",
        "assert os.environ.get('CALC_TOKEN') == 'x'",
        "raise RuntimeError('please set CALC_TOKEN')",
        "pytest.skip('CALC_TOKEN is not set')",
    ],
)
async def test_a_hidden_variable_is_named(
    project: Project, body: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CALC_TOKEN", "x")
    assert "environment variable CALC_TOKEN, which is set here" in await summary(project, body)


async def test_a_variable_that_nobody_set(project: Project):
    said = await summary(project, "os.environ['CALC_TOKEN']")
    assert "CALC_TOKEN is not set where this server was started" in said


@pytest.mark.parametrize(
    "body",
    [
        "assert os.environ.get('HOME') == 'x'",
        "assert os.environ.get('CALC_TOKEN') == 'x'",
        "assert {'CALC': 1}['OTHER_KEY']",
        "assert 'network' == 'GPU'",
        "open('/nowhere/at/all')",
        "open('tests/missing.txt')",
        "raise KeyError('HOME')",
    ],
)
async def test_no_hint_where_nothing_is_hidden(project: Project, body: str):
    said = await summary(project, body)
    assert "verify." not in said and "hidden" not in said and "variable" not in said


async def test_time_and_memory(project: Project):
    project.set(timeout=2.0, memory_mb=600)
    assert "verify.timeout gives it" in await summary(project, "while True: pass", timeout=2)
    assert "verify.memoryMb gives more" in await summary(project, "bytearray(1 << 32)")


async def test_files_outside(project: Project):
    outside = Path.home() / ".oci-lsp-test-of-hints"
    said = await summary(project, f"open({str(outside)!r}, 'w')")
    assert f"only inside the project and in the temporary folder here ({outside})" in said
    assert not outside.exists()
    with tempfile.NamedTemporaryFile(dir="/tmp") as file:
        said = await summary(project, f"open({file.name!r})")
    assert f"{file.name} is hidden from tests" in said


async def test_a_plugin_that_is_missing(project: Project):
    said = await summary(project, "pass", head="@pytest.fixture(autouse=True)\n"
                         "def mine(mocker_of_another_planet):\n    pass\n\n")  # fmt: skip
    assert "fixture 'mocker_of_another_planet' not found" in said
    assert "install the pytest plugin that it needs there" in said
    project.write("pytest.ini", "[pytest]\naddopts = --option-of-a-plugin\n")
    said = await summary(project, "pass")
    assert "(oci-lsp's own, since no environment of the project was found)" in said
