"""What tests do: start processes, write files, look at themselves, use pytest's own fixtures."""

from __future__ import annotations

from collections.abc import Mapping

from tests.verify.projects.shape import ADD, SAYS, Shape

_SAYS_5 = "expected 5"


def _does(
    name: str,
    body: str,
    says: str = SAYS,
    *,
    arguments: str = "",
    head: str = "",
    env: dict[str, str] | None = None,
    settings: dict[str, object] | None = None,
    files: Mapping[str, str | bytes | None] | None = None,
) -> Shape:
    """A shape whose test has this body; `add` and `calc` are imported."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    test = f"{head}import calc\nfrom calc import add\n\n\ndef test_add({arguments}):\n{lines}"
    return Shape(
        name,
        {"tests/test_calc.py": test, **(files or {})},
        says=says,
        env=env or {},
        settings=settings or {},
    )


_POOL = "import multiprocessing as m\n"
_RUNS = "import subprocess, sys\n"

SHAPES = (
    _does(
        "python -c in a subprocess",
        "code = 'import calc; print(calc.add(2, 3))'\n"
        "assert int(subprocess.check_output([sys.executable, '-c', code])) == 5",
        _SAYS_5,
        head=_RUNS,
    ),
    Shape(
        "python -m package in a subprocess",
        {
            "calc.py": None,
            "pkg/__init__.py": "",
            "pkg/calc.py": ADD,
            "pkg/__main__.py": "from pkg.calc import add\nprint(add(2, 3))\n",
            "tests/test_calc.py": _RUNS
            + "\ndef test_add():\n    printed = subprocess.check_output("
            "[sys.executable, '-m', 'pkg'])\n    assert int(printed) == 5\n",
        },
        file="pkg/calc.py",
        says=_SAYS_5,
    ),
    _does(
        "a shell script in a subprocess",
        "done = subprocess.run(['sh', 'add.sh', sys.executable], capture_output=True, text=True)\n"
        "assert done.stdout == '5\\n'",
        "expected '5\\n'",
        head=_RUNS,
        files={"add.sh": '#!/bin/sh\n"$1" -c "import calc; print(calc.add(2, 3))"\n'},
    ),
    *(
        _does(
            f"multiprocessing by {method}",
            f"with m.get_context('{method}').Pool(2) as pool:\n"
            "    assert pool.starmap(add, [(2, 3), (1, 1)]) == [5, 2]",
            "expected [5, 2]",
            head=_POOL,
        )
        for method in ("fork", "spawn", "forkserver")
    ),
    _does(
        "a process with a queue",
        "queue = m.get_context('fork').Queue()\n"
        "process = m.get_context('fork').Process(target=lambda: queue.put(add(2, 3)))\n"
        "process.start()\ntotal = queue.get(timeout=20)\nprocess.join()\nassert total == 5",
        "total was -1, expected 5",
        head=_POOL,
    ),
    _does(
        "shared memory and a manager",
        "with m.Manager() as manager:\n    values = manager.list([add(2, 3)])\n"
        "    block = m.shared_memory.SharedMemory(create=True, size=8)\n    block.close()\n"
        "    block.unlink()\n    assert values[0] == 5",
        _SAYS_5,
        head="import multiprocessing as m\nimport multiprocessing.shared_memory\n",
    ),
    _does(
        "a pool of threads",
        "with f.ThreadPoolExecutor(2) as pool:\n    assert list(pool.map(add, [2], [3])) == [5]",
        "expected [5]",
        head="import concurrent.futures as f\n",
    ),
    _does(
        "a pool of processes",
        "with f.ProcessPoolExecutor(2) as pool:\n    assert list(pool.map(add, [2], [3])) == [5]",
        "expected [5]",
        head="import concurrent.futures as f\n",
    ),
    _does(
        "files written into the project",
        "import os\nos.makedirs('build/out')\nwith open('build/out/sum.txt', 'w') as file:\n"
        "    file.write(str(add(2, 3)))\nos.remove('notes.txt')\nos.rename('old.txt', 'new.txt')\n"
        "with open('calc.py', 'a') as file:\n    file.write('# seen')\n"
        "assert open('build/out/sum.txt').read() == '5'",
        "expected '5'",
        files={"notes.txt": "notes", "old.txt": "old"},
    ),
    _does(
        "tmp_path and tmp_path_factory",
        "(tmp_path / 'sum').write_text(str(add(2, 3)))\n"
        "assert tmp_path_factory.mktemp('x').is_dir()\n"
        "assert (tmp_path / 'sum').read_text() == '5'",
        "expected '5'",
        arguments="tmp_path, tmp_path_factory",
    ),
    _does(
        "capsys",
        "print(add(2, 3))\nassert capsys.readouterr().out == '5\\n'",
        "expected '5\\n'",
        arguments="capsys",
    ),
    _does(
        "capfd with a subprocess",
        "os.system(f'echo {add(2, 3)}')\nassert capfd.readouterr().out == '5\\n'",
        "expected '5\\n'",
        arguments="capfd",
        head="import os\n",
    ),
    _does(
        "caplog",
        "logging.getLogger('calc').warning('total %d', add(2, 3))\n"
        "assert caplog.messages == ['total 5']",
        "expected ['total 5']",
        arguments="caplog",
        head="import logging\n",
    ),
    _does(
        "monkeypatch of directory, environment and path",
        "monkeypatch.chdir(tmp_path)\nmonkeypatch.setenv('ADD_BY', '3')\n"
        "monkeypatch.syspath_prepend(tmp_path)\n"
        "assert add(2, int(os.environ['ADD_BY'])) == 5",
        "returned -1, expected 5",
        arguments="monkeypatch, tmp_path",
        head="import os\n",
    ),
    _does(
        "monkeypatch of the module",
        "monkeypatch.setattr(calc, 'OFFSET', 1)\nassert add(2, 3) == 5",
        arguments="monkeypatch",
        files={"calc.py": "OFFSET = 0\n\n\n" + ADD},
    ),
    _does(
        "recwarn and pytest.warns",
        "warnings.warn('old', UserWarning)\nassert len(recwarn) == 1\nassert add(2, 3) == 5",
        arguments="recwarn",
        head="import warnings\n",
    ),
    _does(
        "unittest.mock",
        "with mock.patch('calc.number', return_value=3):\n    assert add(2, calc.number()) == 5",
        "returned -1, expected 5",
        head="from unittest import mock\n",
        files={"calc.py": "def number():\n    return 0\n\n\n" + ADD},
    ),
    _does(
        "data files beside the test",
        "with open(os.path.join(os.path.dirname(__file__), 'data', 'pairs.json')) as file:\n"
        "    for a, b, total in json.load(file):\n        assert add(a, b) == total",
        head="import json, os\n",
        files={"tests/data/pairs.json": "[[0, 0, 0], [2, 3, 5]]"},
    ),
    Shape(
        "package data by importlib.resources",
        {
            "calc.py": None,
            "pkg/__init__.py": "",
            "pkg/calc.py": ADD,
            "pkg/data/three.txt": "3",
            "tests/test_calc.py": "from importlib import resources\nimport pkg\n"
            "from pkg.calc import add"
            "\n\ndef test_add():\n    three = int((resources.files(pkg) / 'data/three.txt')"
            ".read_text())\n    assert add(2, three) == 5\n",
        },
        file="pkg/calc.py",
    ),
    _does(
        "__file__, the source and linecache",
        "text = inspect.getsource(add)\nassert text.startswith('def add(a, b):')\n"
        "assert linecache.getline(calc.__file__, 1) == 'def add(a, b):\\n'\n"
        "assert os.path.samefile(calc.__file__, 'calc.py')\n"
        "assert eval('2' + text.split()[-2] + '3') == 5",
        _SAYS_5,
        head="import inspect, linecache, os\n",
    ),
    _does(
        "pickle of the function and of what it returns",
        "assert pickle.loads(pickle.dumps(add)) is add\n"
        "assert pickle.loads(pickle.dumps(add(2, 3))) == 5",
        _SAYS_5,
        head="import pickle\n",
    ),
    _does(
        "a module that takes a second to import",
        "assert add(2, 3) == 5",
        files={"calc.py": "import time\n\ntime.sleep(1)\n\n\n" + ADD},
    ),
    _does(
        "an event loop and signals of its own",
        "signal.signal(signal.SIGUSR1, lambda *_: None)\nos.kill(os.getpid(), signal.SIGUSR1)\n"
        "assert asyncio.new_event_loop().run_until_complete(asyncio.to_thread(add, 2, 3)) == 5",
        _SAYS_5,
        head="import asyncio, os, signal\n",
    ),
    _does(
        "a server on the loopback",
        "import socket\nwith socket.create_server(('127.0.0.1', 0)) as server:\n"
        "    client = socket.create_connection(server.getsockname())\n"
        "    client.sendall(str(add(2, 3)).encode())\n    client.close()\n"
        "    assert server.accept()[0].recv(9) == b'5'",
        "expected b'5'",
    ),
    _does(
        "sqlite and an archive in the temporary folder",
        "import sqlite3, tempfile\nwith tempfile.TemporaryDirectory() as folder:\n"
        "    base = sqlite3.connect(folder + '/x.db')\n    base.execute('create table t (n)')\n"
        "    base.execute('insert into t values (?)', (add(2, 3),))\n"
        "    total = base.execute('select n from t').fetchone()[0]\n    base.close()\n"
        "assert total == 5",
        "total was -1, expected 5",
    ),
    _does(
        "locale, time zone and home of the user",
        "import os, pathlib, time\nassert pathlib.Path.home().is_dir() and os.environ['PATH']\n"
        "assert time.tzname and add(2, 3) == 5",
        "add(2, 3)",
    ),
    _does(
        "a variable that verify.env names",
        "import os\nassert add(2, int(os.environ['CALC_THREE'])) == 5",
        "returned -1, expected 5",
        env={"CALC_THREE": "3"},
        settings={"env": ("CALC_THREE",)},
    ),
    _does(
        "faulthandler, tracing and a profile",
        "import cProfile, faulthandler, sys\nfaulthandler.enable(file=open(os.devnull, 'w'))\n"
        "sys.settrace(None)\nprofile = cProfile.Profile()\n"
        "assert profile.runcall(add, 2, 3) == 5",
        _SAYS_5,
        head="import os\n",
    ),
    _does(
        "recursion and garbage",
        "import gc, sys\nsys.setrecursionlimit(5000)\ngc.collect()\nassert add(2, 3) == 5",
    ),
)
