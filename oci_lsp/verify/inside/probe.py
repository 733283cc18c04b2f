"""The probe: tells whether the candidate's code was entered, at next to no cost."""

import os
import sys
import threading
from types import CodeType
from typing import Any, Dict, Optional

_TOOL_IDS = (4, 3, 5, 2)  # 0 and 1 are for debuggers and coverage


class Probe:
    """Watches for the first call of one function, matched by file, name and lines."""

    # Below Python 3.12 every call of anything is seen until the first hit: imports would take
    # twice as long. What is entered at import only is then left to the negative control.
    IS_CHEAP = sys.version_info >= (3, 12)

    def __init__(self, candidate: Optional[Dict[str, Any]]) -> None:
        self.entered = False
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

    def _profile(self, frame: Any, event: str, _arg: Any) -> None:
        if self.entered:
            # Each thread has its own hook: it takes itself out.
            sys.setprofile(None)
        elif event == "call" and self._matches(frame.f_code):
            self.entered = True
            threading.setprofile(None)
            sys.setprofile(None)

    if sys.version_info >= (3, 12):

        def _start_monitoring(self) -> None:
            monitoring = sys.monitoring
            free = [tool for tool in _TOOL_IDS if monitoring.get_tool(tool) is None]
            if not free:
                return  # silent: the negative control will tell
            self._tool = free[0]
            monitoring.use_tool_id(self._tool, "oci-lsp")
            monitoring.register_callback(self._tool, monitoring.events.PY_START, self._on_start)
            monitoring.set_events(self._tool, monitoring.events.PY_START)

        def _on_start(self, code: CodeType, _offset: int) -> Any:
            if not self.entered and self._matches(code):
                self.entered = True
                if self._tool is not None:
                    sys.monitoring.set_events(self._tool, 0)
            return sys.monitoring.DISABLE
