"""The probe: tells whether the candidate's code was entered, at next to no cost."""

import os
import re
import sys
import threading
import tokenize
from types import CodeType
from typing import Any, Dict, List, Optional

from .returned import pliable
from .sentinel import Suspects

_LOOKS = 100  # returns of the candidate that are looked at
_COMPARING = re.compile(
    r"__(?:eq|ne|lt|le|gt|ge|contains|getattribute)__|\bANY\b|\btype\(|\b(?:exec|eval|setattr)\("
    r"|\bmake_class\b|\bMagicMock\b"
)
_TOOL_IDS = (4, 3, 5, 2)  # 0 and 1 are for debuggers and coverage


class Probe:
    """Watches for the first call of one function, matched by file, name and lines."""

    # Below Python 3.12 every call of anything is seen until the first hit: imports would take
    # twice as long. What is entered at import only is then left to the negative control.
    IS_CHEAP = sys.version_info >= (3, 12)

    def __init__(self, candidate: Optional[Dict[str, Any]], suspects: Suspects) -> None:
        self.entered = False
        self.found: List[str] = []
        self.returned: List[str] = []
        self._suspects = suspects
        self._returns = 0
        self._code: Optional[CodeType] = None
        # Below Python 3.12 returned values are looked at only where a word makes it worth while.
        self._waits = self.IS_CHEAP or (candidate is not None and _compares(candidate))
        self._started = False
        self._candidate = candidate
        self._tool: Optional[int] = None
        self._files: Dict[str, bool] = {}
        if candidate is not None:
            self._name = candidate["name"]
            self._first, self._last = candidate["lines"]
            self._basename = os.path.basename(candidate["path"])

    def start(self) -> None:
        """Begin watching, in every thread of this process; once is enough."""
        if self._candidate is None or self._started:
            return
        self._started = True
        if sys.version_info >= (3, 12):
            self._start_monitoring()
        else:
            threading.setprofile(self._profile)
            sys.setprofile(self._profile)

    def stop(self) -> None:
        """End watching."""
        if not self._started:
            return
        if sys.version_info >= (3, 12):
            if self._tool is not None:
                if not self._is_watching():
                    self.found.append("sys.monitoring")
                    return
                sys.monitoring.set_events(self._tool, 0)
                sys.monitoring.free_tool_id(self._tool)
                self._tool = None
        elif sys.getprofile() == self._profile:
            threading.setprofile(None)
            sys.setprofile(None)

    def _matches(self, code: CodeType) -> bool:
        if code.co_name != self._name or not self._first <= code.co_firstlineno - 1 <= self._last:
            return False
        name = code.co_filename
        if name not in self._files:
            assert self._candidate is not None
            self._files[name] = (
                os.path.basename(name) == self._basename
                and os.path.realpath(name) == self._candidate["path"]
            )
        return self._files[name]

    def _profile(self, frame: Any, event: str, arg: Any) -> None:
        if self.entered and not self._waits:
            # Each thread has its own hook: it takes itself out.
            sys.setprofile(None)
        elif event == "call" and not self.entered and self._matches(frame.f_code):
            self.entered = True
            if not self._waits:
                threading.setprofile(None)
                sys.setprofile(None)
        elif event == "return" and self._waits and self._matches(frame.f_code):
            self._look_at(arg)

    def _look_at(self, value: Any) -> None:
        """At what the candidate returned, the first times."""
        self._returns += 1
        if self._returns > _LOOKS:
            self._waits = False
            return
        wrong = pliable(value, self._suspects.owns)
        if wrong and wrong not in self.returned:
            self.returned.append(wrong)

    if sys.version_info >= (3, 12):

        def _start_monitoring(self) -> None:
            monitoring = sys.monitoring
            free = [tool for tool in _TOOL_IDS if monitoring.get_tool(tool) is None]
            if not free:
                return  # silent: the negative control will tell
            self._tool = free[0]
            monitoring.use_tool_id(self._tool, "oci-lsp")
            events = monitoring.events
            monitoring.register_callback(self._tool, events.PY_START, self._on_start)
            monitoring.register_callback(self._tool, events.PY_RETURN, self._on_return)
            monitoring.register_callback(self._tool, events.PY_YIELD, self._on_return)
            monitoring.set_events(self._tool, monitoring.events.PY_START)

        def _on_start(self, code: CodeType, _offset: int) -> Any:
            if not self.entered and self._matches(code):
                self.entered = True
                self._code = code
                if self._tool is not None:
                    events = sys.monitoring.events
                    sys.monitoring.set_events(self._tool, 0)
                    local = events.PY_RETURN | events.PY_YIELD
                    sys.monitoring.set_local_events(self._tool, code, local)
            return sys.monitoring.DISABLE

        def _on_return(self, code: CodeType, _offset: int, value: Any) -> Any:
            self._look_at(value)
            return None if self._waits else sys.monitoring.DISABLE

        def _is_watching(self) -> bool:
            monitoring, tool = sys.monitoring, self._tool
            assert tool is not None
            if monitoring.get_tool(tool) != "oci-lsp":
                return False
            if self._code is None:
                return bool(monitoring.get_events(tool) & monitoring.events.PY_START)
            return bool(monitoring.get_local_events(tool, self._code))


def _compares(candidate: Dict[str, Any]) -> bool:
    """Whether the file has words by which an object compares in its own way, or may have."""
    try:
        with tokenize.open(candidate["path"]) as file:
            return bool(_COMPARING.search(file.read()))
    except (OSError, UnicodeDecodeError, SyntaxError):
        return True
