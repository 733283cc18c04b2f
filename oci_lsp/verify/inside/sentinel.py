"""The sentinel: an audit hook, which nothing can remove, that tells when a candidate's own code
reaches for the frames, objects and files that test it."""

import _thread
import os
import sys
from types import CodeType
from typing import Any, Callable, Dict, List, Optional, Set

_FRAMES = frozenset(("tb_frame", "gi_frame", "cr_frame", "ag_frame"))
_FUNCTION = frozenset(("__code__", "__defaults__", "__kwdefaults__", "__closure__"))
# Called by the candidate, these do the looking for it.
_HELPERS = tuple(
    os.sep + name
    for name in (
        "inspect.py",
        "linecache.py",
        "tokenize.py",
        "pathlib.py",
        "codecs.py",
        "ast.py",
        "shutil.py",
        "fileinput.py",
        "runpy.py",
        "types.py",
    )
)
_HELPER_FOLDERS = (
    *(os.sep + name + os.sep for name in ("pathlib", "ctypes")),
    os.path.join("_pytest", "assertion", "rewrite.py"),  # the loader of test modules
)
_HANDING_OUT_FRAMES = frozenset(("walk_tb", "walk_stack", "currentframe"))
_LOGGING = os.sep + os.path.join("logging", "__init__.py")  # its currentframe is a lambda
# Files that change how the next run, or a subprocess, is tested.
_STEERING = frozenset(
    (
        *("conftest.py", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg", "pyproject.toml"),
        *("sitecustomize.py", "usercustomize.py", "pytest.toml", ".pytest.toml"),
    )
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


_STRANGER, _MADE, _HELPER, _LOADER = range(4)


def _kind(filename: str) -> int:
    """What a frame of this file means on the way from an act to who asked for it."""
    if filename == "<string>":
        return _MADE
    if filename.startswith("<frozen importlib"):
        return _LOADER
    if (
        filename == "<frozen runpy>"
        or filename.endswith(_HELPERS)
        or any(part in filename for part in _HELPER_FOLDERS)
    ):
        return _HELPER
    return _STRANGER


class Suspects:
    """Tells the candidate's own code: its file's, or of a test file only the function's lines."""

    def __init__(self, request: Dict[str, Any]) -> None:
        candidate = request["candidate"]
        self.original = request.get("original") or ""
        self.root = request["root"]
        self.tests = {os.path.join(self.root, i.partition("::")[0]) for i in request["node_ids"]}
        self.path = candidate["path"] if candidate is not None else ""
        self._basename = os.path.basename(self.path) or os.devnull
        # What stands beside the candidate in a test file is the user's.
        alone = self.path in self.tests or os.path.basename(self.path) == "conftest.py"
        self._lines = candidate["lines"] if candidate is not None and alone else None
        self._files: Dict[str, bool] = {}
        self.tests.discard(self.path)

    def owns(self, code: CodeType) -> bool:
        """Whether the code object was compiled from the candidate's text."""
        name = code.co_filename
        known = self._files.get(name)
        if known is None:
            # Most files are told by their names, without a look at the disk.
            known = name.endswith(self._basename) and os.path.realpath(name) == self.path
            self._files[name] = known
        if not known or self._lines is None:
            return known
        return bool(self._lines[0] <= code.co_firstlineno - 1 <= self._lines[1])

    def does_already(self, *words: str) -> bool:
        """Whether the original text of the file names one of these: then it may go on to."""
        return any(word in self.original for word in words)


class Sentinel:
    """Reports through `tell(what)`, before the act takes place."""

    def __init__(self, suspects: Suspects, tell: Callable[[str], None]) -> None:
        self.handing_out: Set[str] = set()  # test files that use their own path
        self.functions: Set[int] = set()  # ids of the tests' functions
        self._suspects = suspects
        self._told: List[str] = []
        self._kinds: Dict[str, int] = {}
        self._names = {os.path.basename(path) for path in suspects.tests}
        self._tell = tell
        watched: Dict[str, Callable[[Any, Any], Optional[str]]] = {
            "sys._getframe": self._frame,
            "sys._current_frames": self._frame,
            "sys._current_exceptions": self._frame,
            "object.__getattr__": self._attribute,
            "object.__setattr__": self._assignment,
            "object.__delattr__": self._assignment,
            "open": self._open,
            "compile": self._compile,
            "code.__new__": self._plain("code objects", "CodeType", "co_code", "replace"),
        }
        for name in ("get_objects", "get_referrers", "get_referents"):
            watched["gc." + name] = self._plain("the objects of gc." + name, name)
        for name in ("settrace", "setprofile", "addaudithook"):
            watched["sys." + name] = self._plain("sys." + name, name)
        watched["sys.monitoring.register_callback"] = self._plain("sys.monitoring", "monitoring")
        for name in (
            "dlopen",
            "dlsym",
            "dlsym/handle",
            "call_function",
            "cdata",
            "cdata/buffer",
            "string_at",
            "wstring_at",
            "addressof",
            "PyObj_FromPtr",
        ):
            watched["ctypes." + name] = self._plain("memory through ctypes", "ctypes", "cffi")
        for name in ("remove", "rename", "link", "symlink", "truncate", "chmod", "utime"):
            watched["os." + name] = self._file
        self._watched = watched

    def know(self, items: List[Any]) -> None:
        """The tests' functions: whose code is not to be read, and which hand out their file."""
        for item in items:
            function = getattr(item, "function", None)
            function = getattr(function, "__func__", function)
            code = getattr(function, "__code__", None)
            if code is not None:
                self.functions.add(id(function))
                if "__file__" in code.co_names:
                    self.handing_out.add(os.path.realpath(code.co_filename))

    def start(self) -> None:
        """Listen, until the process ends."""
        sys.addaudithook(_hook(self._watched, self._report))

    def _report(self, what: str) -> None:
        if what not in self._told and len(self._told) < 10:
            self._told.append(what)
            self._tell(what)

    # -- who -------------------------------------------------------------------------------

    def _caller(self, frame: Any, *, helpers: bool = True) -> bool:
        """Whether the candidate is the caller, itself or through code that it made or called."""
        while frame is not None:
            code = frame.f_code
            if self._suspects.owns(code):
                return True
            kind = self._kinds.get(code.co_filename)
            if kind is None:
                kind = self._kinds[code.co_filename] = _kind(code.co_filename)
            if kind == _STRANGER or (kind != _MADE and not helpers):
                return False
            frame = frame.f_back
            # An import's own reading is no look at the file: only a loader that is called is.
            if (
                kind == _LOADER
                and frame is not None
                and frame.f_code.co_filename == code.co_filename
            ):
                return False
        return False

    # -- what ------------------------------------------------------------------------------

    def _plain(self, what: str, *words: str) -> Callable[[Any, Any], Optional[str]]:
        def judge(frame: Any, args: Any) -> Optional[str]:
            if self._caller(frame) and not self._suspects.does_already(*words):
                return what
            return None

        return judge

    def _frame(self, frame: Any, args: Any) -> Optional[str]:
        code = frame.f_code
        is_lambda = code.co_name == "<lambda>" and code.co_filename.endswith(_LOGGING)
        if (is_lambda or code.co_name in _HANDING_OUT_FRAMES) and frame.f_back is not None:
            frame = frame.f_back
        words = (
            "_getframe",
            "currentframe",
            "_current_frames",
            "inspect",
            "walk_stack",
            "traceback",
        )
        if self._caller(frame) and not self._suspects.does_already(*words):
            return "its caller's frames (sys._getframe)"
        return None

    def _attribute(self, frame: Any, args: Any) -> Optional[str]:
        name = args[1]
        if name in _FRAMES:
            if frame.f_code.co_name in _HANDING_OUT_FRAMES and frame.f_back is not None:
                frame = frame.f_back
            if self._caller(frame) and not self._suspects.does_already(name, "traceback"):
                return "its caller's frames ({})".format(name)
        elif name == "__code__" and id(args[0]) in self.functions and self._caller(frame):
            return "the test's code"
        return None

    def _assignment(self, frame: Any, args: Any) -> Optional[str]:
        if args[1] not in _FUNCTION or not self._caller(frame):
            return None
        code = getattr(args[0], "__code__", None)
        if type(code) is CodeType and self._suspects.owns(code):
            return None
        if id(args[0]) not in self.functions and self._suspects.does_already(args[1]):
            return None
        return "{}.{}".format(getattr(args[0], "__name__", "a function"), args[1])

    def _compile(self, frame: Any, args: Any) -> Optional[str]:
        """Code under another file's name would hide whose it is."""
        name = args[1]
        if type(name) is bytes:
            name = os.fsdecode(name)
        if type(name) is str and not name.startswith("<") and self._caller(frame, helpers=False):
            return "compile() under the name of a file"
        return None

    def _open(self, frame: Any, args: Any) -> Optional[str]:
        path, mode, flags = args
        if type(path) is bytes:
            path = os.fsdecode(path)
        if type(path) is not str:
            return None
        is_writing = bool(flags & _WRITING) if type(flags) is int else mode not in (None, "r", "rb")
        name = path.rpartition(os.sep)[2]
        if not (is_writing or name in self._names or name == "mem") or not self._caller(frame):
            return None
        if path.startswith("/proc/") and path.endswith("/mem"):
            return "memory through /proc"
        real = os.path.realpath(path)
        if is_writing:
            return self._written(real)
        words = ("inspect", "linecache", os.path.basename(real))
        if real not in self._suspects.tests or real in self.handing_out:
            return None
        if not self._suspects.does_already(*words):
            return "the test's source ({})".format(os.path.basename(real))
        return None

    def _file(self, frame: Any, args: Any) -> Optional[str]:
        for path in args:
            if type(path) is str and self._caller(frame):
                found = self._written(os.path.realpath(path))
                if found:
                    return found
        return None

    def _written(self, path: str) -> Optional[str]:
        name = os.path.basename(path)
        if not path.startswith(self._suspects.root + os.sep):
            return None
        ours = path in self._suspects.tests or name in _STEERING or name.endswith((".py", ".pth"))
        if ours and not self._suspects.does_already(name):
            return os.path.relpath(path, self._suspects.root)
        return None


def _hook(
    watched: Dict[str, Callable[[Any, Any], Optional[str]]], report: Callable[[str], None]
) -> Any:
    get, getframe = watched.get, sys._getframe
    busy: Set[int] = set()
    getpid, owner = os.getpid, os.getpid()
    ident = _thread.get_ident

    def hook(event: str, args: Any) -> None:
        judge = get(event)
        if judge is None:
            return
        thread = ident()
        if thread in busy:
            return
        busy.add(thread)
        try:
            what = judge(getframe(1), args)
            if what and getpid() == owner:
                report(what)
        except RecursionError:
            raise  # not looked at, so not done: nearer to the limit the act itself would fail
        except Exception:
            return
        finally:
            busy.discard(thread)
        if what and getpid() != owner:
            # A forked child's word is not heard by the supervisor: the act does not take place.
            raise PermissionError(what)

    return hook
