"""What a candidate's text newly names that only the machinery of tests has a use for."""

import ast
import os
import re
from typing import Any, Dict, Iterator, List, Set

# Names, strings and imports of code that knows it is being tested.
_WORDS = re.compile(
    r"pytest|pluggy|_oci_lsp|\bunittest\b|\bdoctest\b|\bconftest\b|\b(site|user)customize\b"
    r"|\bmeta_path\b|\bpath_hooks\b|\bpath_importer_cache\b|\baddaudithook\b",
    re.IGNORECASE,
)
_JUDGES = (
    "builtins|operator|math|json|unittest|doctest|pytest|functools|itertools|collections|re|copy"
)
# Their attributes assigned to: `builtins.len = ...`, `setattr(builtins, ...)`.
_ASSIGNED = re.compile(
    r"\b(?:{0})(?:\.\w+)+\s*=(?!=)|\b(?:setattr|delattr)\(\s*(?:{0})\b".format(_JUDGES)
)
# `sys.modules[...] = ...`, `del sys.modules[...]`, `sys.modules.update(...)`
_MODULES = re.compile(
    r"\bmodules\s*\[[^\]]*\]\s*=(?!=)|\bmodules\.(?:update|pop|setdefault|clear)\b"
)


def new_words(request: Dict[str, Any]) -> List[str]:
    """What the candidate's file names and the original, comments included, does not."""
    candidate, original = request["candidate"], request.get("original") or ""
    if candidate is None or candidate["path"] in _tests(request):
        return []
    try:
        with open(candidate["path"], encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError):
        return []
    found: List[str] = []
    for pattern in (_ASSIGNED, _MODULES):
        before = set(pattern.findall(original))
        found += [hit.strip() for hit in pattern.findall(text) if hit not in before]
    stems = {os.path.splitext(os.path.basename(path))[0] for path in _tests(request)}
    named = re.compile("|".join([r"\b{}\b".format(re.escape(s)) for s in sorted(stems)]) or "(?!)")
    if not (found or _WORDS.search(text) or named.search(text)):
        return []
    try:
        words = set(_words(ast.parse(text)))
    except (SyntaxError, ValueError):
        return []
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
