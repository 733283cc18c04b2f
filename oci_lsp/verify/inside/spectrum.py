"""The spectrum of a test suite: which of the project's functions each test entered.

Functions are told by their code objects: the file and the line, counted from 0, where they begin,
decorators included. What runs at import only is no test's; generators count where they first run.
What a fixture of a wider scope entered counts for each test that uses it, not for the first alone.
"""

import contextlib
import os
import sys
import threading
from inspect import CO_OPTIMIZED
from types import CodeType
from typing import Any, Dict, Iterator, List, Optional, Tuple

_TOOL_IDS = (4, 3, 5, 2)  # 0 and 1 are for debuggers and coverage


class Spectrum:
    """Records by test, where it is `wanted`; else each method does nothing.

    `forget` at a test's begin, `entered` at its end, `fixture` around each fixture's set-up.
    Functions are numbered as they first come, so that each is described once.
    """

    def __init__(self, root: str, *, wanted: bool) -> None:
        self._root = root + os.sep
        self._wanted = wanted
        self._numbers: Dict[Tuple[str, int], int] = {}
        # Keeps the code objects alive: their ids are not to be given again.
        self._codes: Dict[int, Tuple[CodeType, Optional[int]]] = {}
        self._new: List[Tuple[str, int]] = []
        self._entered: Dict[int, None] = {}
        self._fixtures: Dict[int, Dict[int, None]] = {}
        self._tool: Optional[int] = None

    def start(self) -> None:
        """Begin watching, in every thread of this process."""
        if not self._wanted:
            return
        if sys.version_info >= (3, 12):
            self._start_monitoring()
        else:
            threading.setprofile(self._profile)
            sys.setprofile(self._profile)

    def stop(self) -> None:
        """End watching."""
        if not self._wanted:
            return
        if sys.version_info >= (3, 12):
            if self._tool is not None:
                sys.monitoring.set_events(self._tool, 0)
                sys.monitoring.free_tool_id(self._tool)
                self._tool = None
        else:
            threading.setprofile(None)
            sys.setprofile(None)

    def forget(self) -> None:
        """A test begins: what was entered until now is not its own."""
        if not self._wanted:
            return
        self._entered = {}
        self._tell_again()

    def _tell_again(self) -> None:
        if sys.version_info < (3, 12):
            # A test may have used a profiler of its own.
            sys.setprofile(self._profile)
        elif self._tool is not None:
            sys.monitoring.restart_events()

    @contextlib.contextmanager
    def fixture(self, definition: Any) -> Iterator[None]:
        """Remember what the set-up of a fixture enters."""
        if not self._wanted:
            yield
            return
        outer, self._entered = self._entered, {}
        self._tell_again()
        try:
            yield
        finally:
            self._fixtures[id(definition)] = self._entered
            self._entered = {**outer, **self._entered}

    def entered(self, item: Any) -> Optional[Dict[str, Any]]:
        """`functions`: numbers in the order in which the test first entered them; `new`: the places
        of those numbers that were not told before. None where nothing is recorded."""
        if not self._wanted:
            return None
        functions: Dict[int, None] = {}
        used = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
        for definitions in used.values():
            for definition in definitions:
                functions.update(self._fixtures.get(id(definition), {}))
        functions.update(self._entered)
        new, self._new = self._new, []
        return {"functions": list(functions), "new": new}

    def _see(self, code: CodeType) -> None:
        known = self._codes.get(id(code))
        if known is None:
            known = self._codes[id(code)] = code, self._number(code)
        number = known[1]
        if number is not None:
            self._entered[number] = None

    def _number(self, code: CodeType) -> Optional[int]:
        """The number of a function of the project; None: a module's or a class's body, or not of
        the project."""
        if not code.co_flags & CO_OPTIMIZED:
            return None
        name = code.co_filename
        if name.startswith("<"):
            return None
        path = os.path.realpath(name)
        if not path.startswith(self._root) or os.sep + "site-packages" + os.sep in path:
            return None
        place = path, code.co_firstlineno - 1
        if place not in self._numbers:
            self._numbers[place] = len(self._numbers)
            self._new.append(place)
        return self._numbers[place]

    def _profile(self, frame: Any, event: str, _arg: Any) -> None:
        if event == "call":
            self._see(frame.f_code)

    if sys.version_info >= (3, 12):

        def _start_monitoring(self) -> None:
            monitoring = sys.monitoring
            free = [tool for tool in _TOOL_IDS if monitoring.get_tool(tool) is None]
            if not free:
                return
            self._tool = free[0]
            monitoring.use_tool_id(self._tool, "oci-lsp")
            start = monitoring.events.PY_START
            monitoring.register_callback(self._tool, start, self._on_start)
            monitoring.set_events(self._tool, start)

        def _on_start(self, code: CodeType, _offset: int) -> Any:
            self._see(code)
            # Once in each test is enough: `forget` makes it tell again.
            return sys.monitoring.DISABLE
