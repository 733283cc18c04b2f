"""The process that asks jedi, one question after another; started by inference.py.

It reads one JSON object from stdin (`Asked.as_json` in inference.py) and writes one line of JSON
for each place that led somewhere. It ends with its work, or as soon as stdin is closed: whoever
started it keeps that open, and the end of a killed process closes it.

Nothing of the project is executed. jedi infers from source; compiled modules it would import, and
it does so from `sys.path` alone, which holds our standard library and no more by then.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Seconds of processor time; a runaway inference ends even where nobody is left to end it.
_CPU_SECONDS = 20
# Bytes. Large projects make jedi hold many trees.
_MEMORY = 2 << 30


def main() -> None:
    """Answer what stdin asks."""
    _limit()
    asked = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_owner, daemon=True).start()
    import jedi
    from jedi.api.environment import InterpreterEnvironment

    # Imported by name wherever they are found, says jedi of these; here nothing is.
    jedi.settings.auto_import_modules = []
    standard = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    sys.path[:] = [p for p in sys.path if p in standard or p.endswith(("lib-dynload", ".zip"))]
    project = jedi.Project(asked["root"], added_sys_path=asked["folders"], smart_sys_path=False)
    environment = InterpreterEnvironment()
    root = Path(asked["root"])
    for text in asked["texts"]:
        script = jedi.Script(
            text["code"], path=text["path"], project=project, environment=environment
        )
        for line, column, how in text["places"]:
            try:
                found = list(_answers(script, line, column, how, root))
            except Exception:  # noqa: BLE001, S112 - jedi fails in many ways on odd code
                continue
            for path, qualname in found:
                answer = {"path": path, "qualname": qualname, "in_test": text["in_test"]}
                sys.stdout.write(json.dumps(answer) + "\n")
                sys.stdout.flush()


def _answers(
    script: Any, line: int, column: int, how: str, root: Path
) -> Iterator[tuple[str, str]]:
    """(path, dotted name within the module) of definitions in the project."""
    if how == "type":
        names = script.infer(line, column)
    else:
        names = script.goto(line, column, follow_imports=True)
    for name in names:
        path = name.module_path
        if path is None or not path.is_relative_to(root) or name.type in ("param", "module"):
            continue
        module, full = name.module_name, name.full_name or ""
        if full.startswith(f"{module}."):
            yield str(path), full.removeprefix(f"{module}.")


def _end_with_owner() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


def _limit() -> None:
    import resource

    for kind, most in ((resource.RLIMIT_CPU, _CPU_SECONDS), (resource.RLIMIT_DATA, _MEMORY)):
        try:
            hard = resource.getrlimit(kind)[1]
            resource.setrlimit(
                kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard)
            )
        except (OSError, ValueError):  # macOS knows some limits by name only
            continue


if __name__ == "__main__":
    main()
