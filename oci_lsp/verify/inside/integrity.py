"""Integrity: whether what the tests judge by is what it was, and who changed it if not."""

import builtins
import re
import sys
import tokenize
import types
from operator import is_
from types import CodeType
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Tuple

_Owns = Callable[[Any], bool]
# pytest itself rebinds these around each test.
_MOVING = frozenset(("_reprcompare", "_assertion_pass", "_config", "logger"))
_PYTEST = ("pluggy", "pytest")
# Of pytest itself what decides on outcomes; not what prints, captures or configures.
_DECIDING = tuple(
    "_pytest." + name
    for name in (
        *("assertion", "config", "doctest", "fixtures", "main", "nodes", "outcomes", "python"),
        *("python_api", "raises", "recwarn", "reports", "runner", "skipping", "unittest"),
    )
)
_JUDGES = ("builtins", "json", "operator", "math", "unittest", "doctest")
_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_CALLABLE = (
    *(types.FunctionType, types.BuiltinFunctionType, types.MethodType, type),
    *(classmethod, staticmethod, property),
)
_GLOBAL = re.compile(r"^\s*global\s+([\w, \t]+)", re.MULTILINE)
_MOST = 20_000
# Attributes of our own objects that stay as they are made.
_PARTS = frozenset(
    (
        *("_channel", "_integrity", "_probe", "_request", "_root", "_suspects", "_tell", "_owns"),
        *("explainer", "_inner", "_outer", "_items", "_hooks", "_lock", "_candidate"),
    )
)


def code_digest(code: CodeType) -> Tuple[Any, ...]:
    """What a function does, comparable; nested functions included."""
    constants = tuple(
        code_digest(item) if isinstance(item, CodeType) else (type(item).__name__, repr(item))
        for item in code.co_consts
    )
    return (code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars)


class _Held:
    """The values of a tuple or dict, equal if they are the very same: tests may change what is in
    them, and so may a function that works in place."""

    def __init__(self, values: List[Any]) -> None:
        self.values = values

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Held)
            and len(self.values) == len(other.values)
            and all(map(is_, self.values, other.values))
        )

    __hash__ = None  # type: ignore[assignment]


def _held(values: Any) -> _Held:
    if isinstance(values, dict):
        return _Held([*values, *values.values()])
    return _Held(list(values) if isinstance(values, tuple) else [values])


class _Bindings:
    """Names bound in modules and classes, compared by identity: no value's own code runs."""

    def __init__(self) -> None:
        self._places: List[Tuple[Mapping[str, Any], str, str]] = []
        self.values: List[Any] = []
        # A name added to one of these hides a builtin, or what a class inherits.
        self._hiding: List[Tuple[Mapping[str, Any], str, int, Any]] = []
        self._seen: Dict[int, Any] = {}

    def watch(self, names: Mapping[str, Any], label: str, hidden: Any, which: Any) -> None:
        """Watch the entries of which `which(name, value)` is true."""
        if id(names) in self._seen or len(self._places) > _MOST:
            return
        self._seen[id(names)] = names
        for name, value in list(names.items()):
            if name not in _MOVING and which(name, value):
                self._places.append((names, name, label))
                self.values.append(value)
        self._hiding.append((names, label, len(names), (tuple(names), hidden)))

    def watch_class(self, kind: type, label: str) -> None:
        """Watch a class's own functions; its copy is made once, by identity of the class."""
        if id(kind) in self._seen:
            return
        self._seen[id(kind)] = kind
        self.watch(vars(kind), label + "." + kind.__name__, kind, _is_callable)

    def current(self) -> List[Any]:
        """The values now, in the order of `values`."""
        return [names.get(name) for names, name, _ in self._places]

    def settle(self, values: List[Any]) -> None:
        """From now on `values`, and the names that there are, count as what was there before."""
        self.values = values
        self._hiding = [
            (names, label, len(names), (tuple(names), hidden))
            for names, label, _, (_, hidden) in self._hiding
        ]

    def labels(self, differing: Iterable[int]) -> List[str]:
        return ["{}.{}".format(self._places[i][2], self._places[i][1]) for i in differing]

    def added(self) -> Iterator[Tuple[str, Any]]:
        """(label, value) of names that came and hide another."""
        for names, label, count, (before, hidden) in self._hiding:
            if len(names) != count:
                if isinstance(hidden, type):
                    hidden = {n for base in hidden.__mro__[1:-1] for n in vars(base)}
                for name in list(names):
                    if name not in before and name in hidden and _is_callable(name, names[name]):
                        yield "{}.{}".format(label, name), names[name]


def _is_callable(name: str, value: Any) -> bool:
    return isinstance(value, _CALLABLE)


def _is_part(name: str, value: Any) -> bool:
    return name in _PARTS


def _is_fixed(name: str, value: Any) -> bool:
    return not name.startswith("__") and isinstance(value, (*_CALLABLE, *_PLAIN, types.ModuleType))


def _differing(now: List[Any], *before: List[Any]) -> List[int]:
    first = before[0]
    if all(map(is_, now, first)):
        return []
    return [i for i, value in enumerate(now) if not any(value is b[i] for b in before)]


class Integrity:
    """Takes stock after collection, then looks around each test."""

    def __init__(self) -> None:
        """Made ahead, while the model still generates: it takes stock of pytest's names."""
        self._owns: _Owns = lambda code: False
        self._inner = _Bindings()
        self._outer = _Bindings()
        for module in _modules((*_PYTEST, *_DECIDING)):
            _watch_module(self._inner, module)
        for module in _modules(_JUDGES):
            self._outer.watch(vars(module), module.__name__, (), _is_callable)
            for value in list(vars(module).values()) if module is not builtins else ():
                is_own = isinstance(value, type) and value.__module__ == module.__name__
                if is_own and not issubclass(value, BaseException):
                    self._outer.watch_class(value, module.__name__)
        self._hooks: List[Tuple[str, Any, List[Any]]] = []
        self._items: Dict[int, Tuple[Any, ...]] = {}
        self._session: Any = None
        self._order: List[Any] = []
        self._before: List[Any] = []
        self._at_call: List[Any] = []
        self._ours: List[types.ModuleType] = []
        self._fixtures: List[Tuple[str, Any, Any]] = []
        self._test_files: set = set()  # type: ignore[type-arg]
        self.found: List[str] = []

    # -- taking stock ----------------------------------------------------------------------

    def guard(self, owns: _Owns, modules: List[types.ModuleType], objects: List[Any]) -> None:
        """Watch our own modules and objects too; `owns` tells the candidate's code."""
        self._owns = owns
        self._ours = modules
        for thing in objects:
            kind = type(thing)
            self._inner.watch(vars(thing), kind.__name__, set(dir(kind)), _is_part)

    def start(self) -> None:
        """Nothing of the project but its first conftest.py files is imported: plugins may have
        patched pytest by now, the candidate cannot."""
        self._inner.values = self._inner.current()
        self._outer.values = self._outer.current()

    def remember(self, tests: Dict[str, Any], session: Any = None) -> None:
        """Take stock; `tests` maps ids to pytest items."""
        for bindings in (self._inner, self._outer):
            now = bindings.current()
            differing = _differing(now, bindings.values)
            self.found += bindings.labels(i for i in differing if self._is_candidates(now[i]))
            added = bindings.added()
            self.found += [label for label, value in added if self._is_candidates(value)]
            bindings.settle(now)
        for module in self._ours:
            _watch_module(self._inner, module)
            own: Any = vars(module).get("__builtins__")
            if isinstance(own, dict):
                self._inner.watch(own, module.__name__ + ".__builtins__", (), _is_callable)
        for node_id, item in tests.items():
            self._items[id(item)] = (node_id, *self._stock(item))
        for item in tests.values():
            self._watch_test_module(getattr(item, "module", None))
        for name, module in list(sys.modules.items()):
            if name.rpartition(".")[2] == "conftest":
                self._watch_test_module(module)
        self._before = self._at_call = self._outer.values
        if session is not None:
            self._session, self._order = session, list(session.items)
            self._watch_hooks(session)
            self._watch_fixtures(session)

    def _watch_test_module(self, module: Any) -> None:
        if not isinstance(module, types.ModuleType) or vars(module).get("__file__") is None:
            return
        self._test_files.add(module.__file__)
        try:
            with tokenize.open(str(module.__file__)) as file:
                moving = {n.strip() for g in _GLOBAL.findall(file.read()) for n in g.split(",")}
        except (OSError, UnicodeDecodeError, SyntaxError):
            moving = set()
        label = module.__name__
        self._outer.watch(
            vars(module), label, vars(builtins), lambda n, v: n not in moving and _is_fixed(n, v)
        )
        for value in list(vars(module).values()):
            if isinstance(value, types.ModuleType):
                self._watch_helper(vars(value), value.__name__)
            elif isinstance(value, types.FunctionType):
                self._watch_helper(value.__globals__, value.__module__ or "")
            elif isinstance(value, type) and value.__module__ == module.__name__:
                self._outer.watch_class(value, label)

    def _watch_helper(self, names: Dict[str, Any], label: str) -> None:
        """A module that a test uses; the candidate's own is excepted."""
        functions = (v for v in names.values() if isinstance(v, types.FunctionType))
        file = names.get("__file__")
        if file is None or any(
            self._owns(f.__code__) for f in functions if f.__code__.co_filename == file
        ):
            return
        self._test_files.add(file)  # what it makes itself (a reload, say) is its own affair
        self._outer.watch(names, label, (), _is_callable)

    def _watch_hooks(self, session: Any) -> None:
        hooks = session.config.hook
        for name, caller in list(vars(hooks).items()):
            get = getattr(caller, "get_hookimpls", None)
            if get is not None and name != "pytest_warning_recorded":
                self._hooks.append((name, caller, [impl.function for impl in get()]))

    def _watch_fixtures(self, session: Any) -> None:
        manager = session._fixturemanager
        tables = [v for n, v in vars(manager).items() if n.startswith("_arg2")]
        for table in tables:
            for found in list(table.values()):
                many = found.values() if hasattr(found, "values") else [found]
                for fixture in (f for few in many for f in _many(few)):
                    function = getattr(fixture, "func", None)
                    if function is not None:
                        self._fixtures.append((fixture.argname, fixture, function))

    def _stock(self, item: Any) -> Tuple[Any, ...]:
        function = _function(item)
        code = getattr(function, "__code__", None)
        spec = getattr(item, "callspec", None)
        own = {
            n
            for n, v in vars(item).items()
            # Plugins keep functions of their own on items; what counts is what hides a method.
            if isinstance(v, (types.FunctionType, types.MethodType)) and hasattr(type(item), n)
        }
        return (
            function,
            code,
            code_digest(code) if code is not None else None,
            _held(getattr(function, "__defaults__", None)),
            _held(getattr(function, "__kwdefaults__", None)),
            _held(getattr(spec, "params", None)),
            own - {"obj", "_obj", "_instance"},
        )

    # -- looking ---------------------------------------------------------------------------

    def before_test(self, item: Any) -> None:
        """A test is about to be set up."""
        self._look_at(item)
        if self._session is not None and self._order:
            now = getattr(self._session, "items", None)
            if not isinstance(now, list) or len(now) != len(self._order):
                self.found.append("the list of tests")
                self._order = []
        self._before = self._outer.current()

    def before_call(self, item: Any) -> None:
        """Its fixtures are set up."""
        self._at_call = self._outer.current()

    def after_call(self, item: Any) -> List[str]:
        """The test's function has returned or raised, nothing of pytest ran since: what changed."""
        self._compare_inner()
        self._look_at(item)
        return self.found

    def after_test(self) -> List[str]:
        """It is torn down, what it patched is put back: what changed."""
        self._compare_outer()
        return self.found

    def _compare_inner(self) -> None:
        differing = _differing(self._inner.current(), self._inner.values)
        self.found += self._inner.labels(differing)
        self.found += [label for label, _ in self._inner.added()]
        for name, caller, functions in self._hooks:
            now = vars(self._session.config.hook).get(name)
            implementations = [i.function for i in now.get_hookimpls()] if now is caller else []
            if len(implementations) != len(functions) or not all(
                a == b for a, b in zip(implementations, functions)
            ):
                self.found.append("the hook " + name)
        for name, fixture, function in self._fixtures:
            if getattr(fixture, "func", None) is not function:
                self.found.append("the fixture " + name)

    def _compare_outer(self) -> None:
        now = self._outer.current()
        differing = _differing(now, self._before, self._at_call, self._outer.values)
        self.found += self._outer.labels(i for i in differing if not self._by_a_test(now[i]))
        self.found += [label for label, v in self._outer.added() if not self._by_a_test(v)]

    def _by_a_test(self, value: Any) -> bool:
        """Whether a test file, or a helper of one, made the new value: its own affair."""
        if isinstance(value, type):  # a helper's class, made anew by importlib.reload
            file = getattr(sys.modules.get(value.__module__), "__file__", None)
            mine = any(map(self._is_candidates, vars(value).values()))
            return file in self._test_files and not mine
        code = getattr(getattr(value, "__func__", value), "__code__", None)
        return (
            type(code) is CodeType and code.co_filename in self._test_files and not self._owns(code)
        )

    def _is_candidates(self, value: Any) -> bool:
        code = getattr(getattr(value, "__func__", value), "__code__", None)
        return type(code) is CodeType and self._owns(code)

    def _look_at(self, item: Any) -> None:
        known = self._items.get(id(item))
        if known is None:
            return
        now = self._stock(item)
        if known[1] is not now[0] or known[2] is not now[1] or known[3:6] != now[2:5]:
            self.found.append(known[0])
        elif known[6] != now[5]:
            self.found.append("the parameters of " + known[0])
        elif now[6] - known[7]:
            self.found.append("{} of {}".format(", ".join(sorted(now[6] - known[7])), known[0]))

    def changed(self) -> List[str]:
        """Names of tests and of what they judge by that are not, or were not, what they were."""
        self._compare_inner()
        self._before = self._at_call = self._outer.values
        if self._session is not None:
            for item in list(self._session.items or ()):
                self._look_at(item)
        return list(dict.fromkeys(self.found))


def _watch_module(bindings: _Bindings, module: types.ModuleType) -> None:
    bindings.watch(vars(module), module.__name__, (), _is_callable)
    for value in list(vars(module).values()):
        if isinstance(value, type) and value.__module__ == module.__name__:
            bindings.watch_class(value, module.__name__)


def _modules(packages: Tuple[str, ...]) -> List[types.ModuleType]:
    prefixes = tuple(name + "." for name in packages)
    return [
        module
        for name, module in list(sys.modules.items())
        if isinstance(module, types.ModuleType) and (name in packages or name.startswith(prefixes))
    ]


def _many(few: Any) -> Iterator[Any]:
    if hasattr(few, "func"):
        yield few
    elif isinstance(few, (list, tuple)):
        for one in few:
            yield one[1] if isinstance(one, tuple) and len(one) == 2 else one


def _function(item: Any) -> Any:
    function = (
        vars(item).get("_obj") or getattr(item, "function", None) or getattr(item, "obj", None)
    )
    return getattr(function, "__func__", function)
