"""What a candidate's text newly names that only the machinery of tests has a use for."""

import ast
import os
import re
import tokenize
from typing import Any, Dict, Iterator, List, Set

# Names, strings and imports of code that knows it is being tested.
_WORDS = re.compile(
    r"pytest|pluggy|_oci_lsp|\bunittest\b|\bdoctest\b|\bconftest\b|\b(site|user)customize\b"
    r"|\bmeta_path\b|\bpath_hooks\b|\bpath_importer_cache\b|\baddaudithook\b",
    re.IGNORECASE,
)
# What most tests judge by: no function has a reason to rebind a part of these.
_JUDGES = frozenset(
    (
        *("builtins", "operator", "math", "json", "unittest", "doctest", "pytest"),
        *("functools", "itertools", "collections", "re", "copy"),
    )
)
# Without one of these words nothing of the kind can be rebound.
_REBINDING = re.compile(
    r"\bmodules\b|\b__import__\b|\bimport_module\b|\b(?:{})\b".format("|".join(sorted(_JUDGES)))
)
_CHANGING = frozenset(("update", "pop", "setdefault", "clear", "popitem", "__setitem__"))


def new_words(request: Dict[str, Any]) -> List[str]:
    """What the candidate's file names and the original, comments included, does not."""
    candidate, original = request["candidate"], request.get("original") or ""
    if candidate is None or candidate["path"] in _tests(request):
        return []
    try:
        with tokenize.open(candidate["path"]) as file:
            text = file.read()
    except (OSError, UnicodeDecodeError, SyntaxError):
        return []
    stems = {os.path.splitext(os.path.basename(path))[0] for path in _tests(request)}
    named = re.compile("|".join([r"\b{}\b".format(re.escape(s)) for s in sorted(stems)]) or "(?!)")
    if not (_REBINDING.search(text) or _WORDS.search(text) or named.search(text)):
        return []
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return []
    found = sorted(set(_rebound(tree)) - set(_rebound(_parsed(original))))
    words = set(_words(tree))
    lowered = original.lower()
    for pattern in (_WORDS, named):
        for word in sorted(words):
            hit = pattern.search(word)
            if hit and hit.group().lower() not in lowered:
                found.append(hit.group())
    return list(dict.fromkeys(found))


def _tests(request: Dict[str, Any]) -> Set[str]:
    return {os.path.join(request["root"], i.partition("::")[0]) for i in request["node_ids"]}


def _words(tree: ast.AST) -> Iterator[str]:
    """Names, attributes, imports and strings; neither comments nor docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield getattr(node, "module", None) or ""
            for alias in node.names:
                yield alias.name
        elif isinstance(
            node,
            (ast.Call, ast.Compare, ast.Assign, ast.Subscript, ast.Return, ast.List, ast.Tuple),
        ):
            for child in ast.walk(node):
                if isinstance(child, ast.Constant) and isinstance(child.value, str):
                    yield child.value


def _parsed(text: str) -> ast.AST:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return ast.Module(body=[], type_ignores=[])


def _rebound(tree: ast.AST) -> Iterator[str]:
    """What the code assigns to or deletes of the modules that tests judge by: `json.dumps`."""
    names = _imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Attribute, ast.Subscript)) and not isinstance(node.ctx, ast.Load):
            base = _dotted(node.value, names)
            if isinstance(node, ast.Subscript) and base == "sys.modules":
                yield "sys.modules"
            elif isinstance(node, ast.Attribute) and base.partition(".")[0] in _JUDGES:
                yield base + "." + node.attr
        elif isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in ("setattr", "delattr") and node.args:
                base = _dotted(node.args[0], names)
                if base.partition(".")[0] in _JUDGES:
                    yield base
            elif (
                isinstance(called, ast.Attribute)
                and called.attr in _CHANGING
                and _dotted(called.value, names) == "sys.modules"
            ):
                yield "sys.modules"


def _imported(tree: ast.AST) -> Dict[str, str]:
    """Dotted names of modules, and of what is taken from them, by the names they are bound to."""
    names = {"__builtins__": "builtins"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                names[alias.asname or whole] = whole
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = node.module + "." + alias.name
    return names


def _dotted(node: ast.AST, names: Dict[str, str]) -> str:
    """The dotted name of a module or a part of one, as far as it can be read; empty: unknown."""
    if isinstance(node, ast.Name):
        return names.get(node.id, "")
    if isinstance(node, ast.Attribute):
        base = _dotted(node.value, names)
        return base + "." + node.attr if base else ""
    if isinstance(node, ast.Subscript) and _dotted(node.value, names) == "sys.modules":
        return _constant(getattr(node.slice, "value", node.slice))
    if isinstance(node, ast.Call) and node.args:
        called = node.func
        name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
        if name in ("__import__", "import_module"):
            return _constant(node.args[0])
    return ""


def _constant(node: Any) -> str:
    """The text of a literal; Python 3.8's trees wrap it once more."""
    value = node.value if isinstance(node, ast.Constant) else node
    return value if isinstance(value, str) else ""
