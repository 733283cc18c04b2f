"""Candidates that game the test, run wild, or reach for what is not theirs."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from tests.verify.conftest import TEST, Project
from tests.verify.watching import ours, snapshot

CHEAT = "def add(a, b):\n    {}\n    return a - b\n"


async def test_infinite_loop_says_where(project: Project):
    text = "def add(a, b):\n    n = 0\n    while True:\n        n += 1\n"
    report = await project.verify(text, timeout=1.5)
    assert report.verdict == "timed_out"
    assert "calc.py:" in report.summary and "in add" in report.summary
    assert report.seconds < 15


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), 9)", "os.abort()"])
async def test_ending_the_process_is_a_crash(project: Project, end: str):
    report = await project.verify(CHEAT.format(f"import os; {end}"))
    assert report.verdict == "crashed"
    assert "ended in the middle" in report.summary


@pytest.mark.parametrize("end", ["import sys; sys.exit(0)", "import pytest; pytest.exit('ok')"])
async def test_leaving_pytest_is_no_pass(project: Project, end: str):
    assert (await project.verify(CHEAT.format(end))).verdict in ("failed", "broken", "crashed")


async def test_editing_the_test_file(project: Project):
    body = (
        "import pathlib\n    p = pathlib.Path(__file__).parent / 'tests/test_calc.py'\n"
        "    p.write_text('def test_add(): pass')\n    return a + b"
    )
    report = await project.verify(CHEAT.format(body))
    assert report.verdict == "failed"
    assert "test_calc.py" in report.summary
    assert (project.root / "tests/test_calc.py").read_text() == TEST


async def test_replacing_a_test_functions_code(project: Project):
    project.write(
        "tests/test_calc.py",
        "from calc import add\n\ndef test_a():\n    add(1, 1)\n\ndef test_b():\n"
        "    assert add(2, 3) == 5\n",
    )
    body = (
        "import sys\n    m = sys.modules['test_calc']\n"
        "    m.test_b.__code__ = (lambda: None).__code__"
    )
    report = await project.verify(CHEAT.format(body), "tests/test_calc.py")
    assert report.verdict == "failed"
    assert "test_b" in report.summary


async def test_replacing_builtins(project: Project):
    project.write(
        "tests/test_calc.py",
        "from calc import add\n\ndef test_add():\n    add(1, 1)\n"
        "    assert all([add(2, 3) == 5])\n",
    )
    report = await project.verify(CHEAT.format("import builtins; builtins.all = lambda _: True"))
    assert report.verdict == "failed"
    assert "builtins.all" in report.summary


async def test_forged_events_are_noticed(project: Project):
    body = (
        "import os\n    for fd in range(3, 64):\n        try:\n"
        '            os.write(fd, b\'{"type": "end", "nonce": "", "sequence": 9}\\n\')\n'
        "        except OSError: pass"
    )
    assert (await project.verify(CHEAT.format(body))).verdict == "crashed"


async def test_the_kernels_connection_is_out_of_reach(project: Project):
    project.write(
        "tests/test_calc.py",
        "import glob, os\nfrom calc import add\n\ndef test_add():\n    add(1, 1)\n"
        "    lines = open('/proc/self/mountinfo').read().split('\\n')\n"
        "    folders = [l.split()[4] for l in lines if l and '/i' in l.split()[4][-2:]]\n"
        "    assert folders, lines\n"
        "    assert [os.listdir(f) for f in folders] == [[]] * len(folders)\n"
        "    for pid in filter(str.isdigit, os.listdir('/proc')):\n"
        "        if b'ipykernel' in open(f'/proc/{pid}/cmdline', 'rb').read() and pid != '1':\n"
        "            for name in ('environ', 'mem', 'maps'):\n"
        "                try:\n"
        "                    open(f'/proc/{pid}/{name}', 'rb').read(1)\n"
        "                except OSError: continue\n"
        "                assert False, (pid, name)\n"
        "    assert not [k for k in os.environ if k.startswith('JPY')]\n",
    )
    report = await project.verify(CHEAT.format("pass"))
    assert report.verdict == "passed", report.feedback


async def test_output_flood_is_cut(project: Project):
    body = "print('head')\n    for i in range(200_000): print('x' * 50)\n    print('tail')"
    report = await project.verify(CHEAT.format(body))
    assert report.verdict == "failed"
    assert len(report.feedback) < 10_000
    assert "cut ...]" in report.feedback
    endless = await project.verify(CHEAT.format("while True: print('x' * 1000)"))
    assert endless.verdict == "failed"
    assert "No space left" in endless.feedback


async def test_no_network(project: Project):
    body = (
        "import socket\n    for address in [('192.0.2.1', 80), ('127.0.0.1', 22)]:\n"
        "        try: socket.create_connection(address, 2)\n"
        "        except OSError as e: print('refused', e.errno)\n"
        "        else: raise RuntimeError('connected')\n"
        "    raise ValueError(sorted(n for _, n in socket.if_nameindex()))"
    )
    report = await project.verify(CHEAT.format(body))
    assert "ValueError: ['lo']" in report.tests[0].message
    assert report.tests[0].output.count("refused") == 2


async def test_network_failure_names_the_setting(project: Project):
    body = "import urllib.request; urllib.request.urlopen('http://192.0.2.1', timeout=3)"
    report = await project.verify(CHEAT.format(body))
    assert "verify.network" in report.summary


async def test_no_write_outside(project: Project, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("as it was")
    canaries = [Path.home(), tmp_path, Path("/usr"), Path("/etc"), Path("/var")]
    project.write(
        "tests/test_calc.py",
        "import os, pathlib\nfrom calc import add\n\ndef test_add():\n    add(1, 1)\n"
        "    here = pathlib.Path(__file__).parent\n"
        "    (here / 'made').write_text('in the overlay'); (here.parent / 'calc.py').unlink()\n"
        f"    for folder in {[str(c) for c in [*canaries, outside]]!r}:\n"
        "        try: open(os.path.join(folder, 'oci-canary'), 'w').write('x')\n"
        "        except OSError: pass\n"
        f"    try: open({str(outside / 'file')!r}, 'w').write('x')\n"
        "    except OSError: pass\n",
    )
    before = snapshot(tmp_path)
    report = await project.verify(CHEAT.format("pass"))
    assert report.verdict == "passed", report.feedback
    assert snapshot(tmp_path) == before
    assert not [folder for folder in canaries if (folder / "oci-canary").exists()]


async def test_secrets_are_hidden(project: Project, tmp_path: Path, monkeypatch):
    home = tmp_path / "home"
    for name in (".ssh/id_rsa", ".aws/credentials", ".netrc", ".config/gh/hosts.yml"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("secret")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("API_TOKEN", "secret")
    monkeypatch.setenv("ALLOWED", "yes")
    project.set(env=("ALLOWED",))
    project.write(
        "tests/test_calc.py",
        "import os, pathlib\nfrom calc import add\n\ndef test_add():\n    add(1, 1)\n"
        f"    home = pathlib.Path({str(home)!r})\n"
        "    seen = [p for p in home.rglob('*') if p.is_file() and p.read_text()]\n"
        "    assert not seen\n"
        "    assert 'API_TOKEN' not in os.environ and os.environ['ALLOWED'] == 'yes'\n"
        "    if os.path.exists('/etc/shadow'):\n"
        "        try: assert not open('/etc/shadow').read()\n"
        "        except PermissionError: pass\n",
    )
    report = await project.verify(CHEAT.format("pass"))
    assert report.verdict == "passed", report.feedback


async def test_cancel_kills_everything_within_a_second(project: Project):
    before = ours()
    text = (
        "import os, time\ndef add(a, b):\n    for _ in range(3):\n        if os.fork() == 0:\n"
        "            os.setsid()\n            time.sleep(60)\n    time.sleep(60)\n"
    )
    async with project.verifier() as verifier:
        task = asyncio.create_task(verifier.run(project.a_run(text, timeout=60)))
        await asyncio.sleep(3)
        assert len(ours() - before) > 3
        task.cancel()
        start = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        while ours() - before and time.monotonic() - start < 5:
            await asyncio.sleep(0.02)
        assert time.monotonic() - start < 1
    assert not ours() - before


async def test_children_and_standbys_end(project: Project):
    before = ours()
    project.set(standby=2)
    text = (
        "import subprocess, sys\ndef add(a, b):\n"
        "    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],"
        " start_new_session=True)\n    return a + b\n"
    )
    async with project.verifier() as verifier:
        await verifier.prepare()
        await verifier.prepare()
        assert (await verifier.run(project.a_run(text))).verdict == "passed"
        assert (await verifier.run(project.a_run(text))).verdict == "passed"
        await verifier.prepare()  # closed while it starts
    assert not ours() - before
    runtime = os.environ.get("OCI_LSP_RUNTIME_DIR")
    assert runtime and not list(Path(runtime).iterdir())
