"""What a client from hell may do, as hypothesis strategies."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.lsp.wire import Message, pressing

HUGE = 2**31 - 1
# What functions, comments, line ends and characters of every width do to positions and parsing.
PIECES = (
    "# \U0001f600é\U0001f600 f\ndef f(a):\n    return a\n",
    "def add(a, b):\r\n\treturn a - b\r\n",
    "async def g():\n    ...\n",
    "class A:\n    def m(self):\n        pass\n",
    "# function: h(x) -> x\n# >>> h(1)\n# 1\n",
    "    # oci: be quick\n",
    "\U0001f600",
    "é\t",
    "\n",
    "\r\n",
    "\r",
    "\ud83d",
    "\x0c\u2028\x00",
    "'''",
    "def (",
    "",
)
texts = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
# Mostly ones that a short text has.
numbers = st.sampled_from((*range(10), *range(10), HUGE, HUGE + 1, -1, -HUGE, 10**30))
positions = st.tuples(numbers, numbers).map(lambda p: {"line": p[0], "character": p[1]})
ranges = st.tuples(positions, positions).map(lambda r: {"start": r[0], "end": r[1]})
versions = st.one_of(st.integers(-3, 9), st.sampled_from((HUGE, -HUGE - 1)))
junk: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.sampled_from((0, -1, 1.5, 10**30, "", "uri", "\ud800", "\U0001f600")),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(
            st.sampled_from(
                ("uri", "position", "textDocument", "id", "oci_lsp", "refine", "turns", "start")
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=5,
)
# Ones that an editor could send: within a few lines, between characters of every width.
small = st.tuples(
    st.sampled_from((0, 0, 0, 1, 2, 3)),
    st.integers(0, 5),
    st.integers(0, 2),
    st.integers(0, 9),
    texts,
).map(
    lambda c: {
        "range": {
            "start": {"line": c[0], "character": c[1]},
            "end": {"line": c[0] + c[2] // 2, "character": c[1] + c[3]},
        },
        "text": c[4],
    }
)
changes = st.lists(
    st.one_of(
        texts.map(lambda text: {"text": text}),
        st.tuples(ranges, texts).map(lambda c: {"range": c[0], "text": c[1]}),
        small,
        small,
    ),
    min_size=1,
    max_size=3,
)
diagnostics = st.lists(
    st.tuples(ranges, st.sampled_from(("name the sum", "", "\U0001f600\ud800"))).map(
        lambda d: {"range": d[0], "message": d[1], "source": "lint", "severity": 1}
    ),
    max_size=2,
)
only = st.one_of(
    st.none(),
    st.lists(st.sampled_from(("quickfix", "refactor", "", "refactor.rewrite.fix")), max_size=2),
)
METHODS = (
    "textDocument/didOpen",
    "textDocument/didChange",
    "textDocument/didClose",
    "textDocument/didSave",
    "textDocument/codeAction",
    "textDocument/codeLens",
    "textDocument/hover",
    "workspace/executeCommand",
    "workspace/didChangeConfiguration",
    "workspace/didChangeWorkspaceFolders",
    "window/workDoneProgress/cancel",
    "$/cancelRequest",
    "$/setTrace",
    "$/nonsense",
    "oci_lsp/jobFinished",
    "initialize",
    "initialized",
    "",
)
COMMANDS = (
    "fixFunction",
    "generateFunction",
    "refineWithFeedback",
    "runTest",
    "cancel",
    "showTranscript",
    "printDebugInformation",
    "fixFile",
    "nonsense",
)
# One more that runs tests whatever it is told.
JOBS = (*COMMANDS[:4], "fixFailing")
BODIES = (
    b"{",
    b"[]",
    b"null",
    b"3",
    b'"text"',
    b"\xff\xfe",
    b"{}",
    b'{"jsonrpc":"2.0"}',
    b'{"jsonrpc":"2.0","method":3}',
    b'{"jsonrpc":"1.0","method":"initialized","params":{}}',
    b'{"jsonrpc":"2.0","id":null,"method":"textDocument/codeAction","params":{}}',
    b'{"jsonrpc":"2.0","id":{"a":1},"method":"nonsense"}',
    b'{"jsonrpc":"2.0","id":[1],"method":"shutdown","params":[1]}',
    b'{"jsonrpc":"2.0","id":"none","result":3}',
    b'{"jsonrpc":"2.0","id":"none","error":{"code":1,"message":"x"}}',
    b'{"jsonrpc":"2.0","id":"none","error":3}',
    b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":[1]}}',
    b'[{"jsonrpc":"2.0","id":5,"method":"nonsense"}]',
    b"[" * 2000,
    b'{"jsonrpc":"2.0","method":"$/progress","params":{"token":"x","value":{"kind":"end"}}}',
)
REPLIES: dict[str, Any] = {
    "right": None,
    "first button": pressing(0),
    "second button": pressing(1),
    "null": {"result": None},
    "error": {"error": {"code": -32601, "message": "no such method"}},
    "junk": {"result": {"applied": "maybe", "kind": [None]}},
    "bad error": {"error": {"code": "x"}},
}

names = st.sampled_from((0, 0, 0, 1, 2, 3, 4))
Move = tuple[Any, ...]


def move(kind: str, *parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Move]:
    return st.tuples(st.just(kind), *parts)


places = st.one_of(
    st.fixed_dictionaries(
        {"qualifiedName": st.sampled_from(("f", "f", "add", "g", "A.m", "", "\ud800"))}
    ),
    st.fixed_dictionaries({"position": positions}),
    st.fixed_dictionaries({"range": ranges, "version": versions}),
)
extras: st.SearchStrategy[Message] = st.one_of(
    st.just({}),
    st.just({"feedback": "use sum"}),
    diagnostics.map(lambda d: {"diagnostics": d}),
)
commands = move("command", st.sampled_from(COMMANDS), names, places, extras)
actions = move("actions", names, ranges, diagnostics, only)
edits = move("change", names, versions, changes)
moves = st.one_of(
    commands,
    commands,
    commands,
    actions,
    actions,
    move("lenses", names),
    edits,
    edits,
    edits,
    edits,
    move("open", names, versions, texts),
    move("close", names),
    move("save", names),
    move("wait"),
    move("strange command", st.sampled_from(COMMANDS), st.lists(junk, max_size=2)),
    move("cancel", st.one_of(st.integers(0, 30), st.sampled_from(("r2", "r4", "?", 10**30)))),
    move("cancel progress", st.integers(-1, 3)),
    move("cancel job", st.integers(0, 3)),
    move("configuration", junk),
    move("strange request", st.sampled_from(METHODS), junk),
    move("strange notification", st.sampled_from(METHODS), junk),
    move("body", st.sampled_from(BODIES)),
)
# Buffers that hold something before the rest happens: most moves mean nothing without.
functions = st.lists(st.sampled_from(PIECES[:8]), max_size=3).map(lambda p: PIECES[0] + "".join(p))
openings = st.tuples(
    move("open", st.just(0), versions, functions),
    move("open", names, versions, functions),
)
scripts = st.tuples(openings, st.lists(moves, min_size=4, max_size=20)).map(
    lambda s: [*s[0], *s[1]]
)
replies = st.sampled_from(sorted(REPLIES))
# Few other moves: what a job does takes a second, and is to be met in the middle of it.
job_places = st.sampled_from(({"qualifiedName": "add"}, {"position": {"line": 1, "character": 4}}))
job_moves = st.one_of(
    move("command", st.sampled_from(JOBS), st.just(0), job_places, extras),
    move("command", st.sampled_from(JOBS), st.just(0), job_places, extras),
    move("wait"),
    move("pause", st.sampled_from((0.1, 0.5, 1.5))),
    move("cancel job", st.integers(0, 3)),
    move("cancel progress", st.integers(0, 3)),
    move("change", st.just(0), versions, changes),
    move("close", st.just(0)),
    move("configuration", st.sampled_from(({"refine": {"turns": 1}}, None))),
)
job_scripts = st.lists(job_moves, min_size=2, max_size=7)
