"""Functions and comments are found where they stand, in whole and in broken text."""

from __future__ import annotations

import textwrap
import time

import pytest

from oci_lsp.source.functions import Function, Module, feedback_lines, parse

KINDS = textwrap.dedent(
    '''\
    """Module."""
    import os


    # leads f
    # in two lines
    @first
    @second(
        1,
    )
    def f[T: int](x: T, *, y: "str" = ":") -> T:  # remark
        """Doc of f."""
        def inner(z):
            return z  # last
        return inner(x)


    async def g(): return 1


    class Outer(Base):
        size = 3

        @property
        def p(self):
            return 1

        @p.setter
        def p(self, value):
            self.value = value

        @staticmethod
        def s(): ...

        class Inner:
            async def m(self):
                pass

    if os.name:
        def conditional():
            raise NotImplementedError("later")
    '''
)


def function(text: str, qualname: str) -> Function:
    found = parse(text).named(qualname)
    assert found is not None
    return found


def test_every_kind_of_function_has_its_name_and_owner():
    found = [(f.qualname, f.owner, f.is_async) for f in parse(KINDS).functions]
    assert found == [
        ("f", None, False),
        ("f.inner", None, False),
        ("g", None, True),
        ("Outer.p", "Outer", False),
        ("Outer.p", "Outer", False),
        ("Outer.s", "Outer", False),
        ("Outer.Inner.m", "Outer.Inner", True),
        ("conditional", None, False),
    ]


def test_parts_of_a_function():
    f = function(KINDS, "f")
    assert f.span.of(KINDS).startswith("@first\n@second(")
    assert f.span.of(KINDS).endswith("return inner(x)")
    assert f.definition.of(KINDS).startswith("def f[T: int]")
    assert f.signature == 'def f[T: int](x: T, *, y: "str" = ":") -> T:'
    assert f.decorators == ("@first", "@second(\n    1,\n)")
    assert f.docstring == "Doc of f."
    assert f.docstring_span is not None
    assert f.docstring_span.of(KINDS) == '"""Doc of f."""'
    assert f.body.of(KINDS).startswith('"""Doc of f."""')
    assert f.comment is not None
    assert f.comment.of(KINDS) == "# leads f\n# in two lines"
    assert f.lines == (6, 14)
    assert not f.broken


def test_a_comment_behind_or_below_the_body_belongs_to_the_function():
    text = "def f():\n    return 1  # one\n\n    # still f\n# not f\nx = 1\n"
    assert function(text, "f").span.of(text).endswith("# still f")
    text = "def f():\n    # todo\n"
    assert function(text, "f").span.of(text) == "def f():\n    # todo"


def test_of_an_accessor_the_getter_and_of_overloads_the_last_is_meant():
    assert function(KINDS, "Outer.p").decorators == ("@property",)
    text = "@overload\ndef f(a: int): ...\n@overload\ndef f(a: str): ...\ndef f(a): return a\n"
    assert function(text, "f").decorators == ()
    assert parse(text).named("g") is None


@pytest.mark.parametrize(
    ("needle", "qualname"),
    [
        ("# leads f", "f"),
        ("# in two", "f"),
        ("@second", "f"),
        ("    1,\n", "f"),
        ("def inner", "f.inner"),
        ("return z", "f.inner"),
        ("# last", "f.inner"),
        ("return inner(x)", "f"),
        ("async def g", "g"),
        ("@p.setter", "Outer.p"),
        ("size = 3", None),
        ("import os", None),
        ("class Inner", None),
        ("pass", "Outer.Inner.m"),
    ],
)
def test_the_innermost_function_at_a_place(needle, qualname):
    at = KINDS.index(needle)
    for offset in (at, at + len(needle.rstrip()) - 1):
        found = parse(KINDS).at(offset)
        assert (found.qualname if found else None) == qualname


def test_the_margin_and_the_end_of_a_line_count_to_it():
    text = "class A:\n    def f(self):\n        return 1\n\n    def g(self):\n        return 2"
    module = parse(text)
    at_margin, at_end = module.at(text.index("    def g")), module.at(len(text))
    assert at_margin is not None and at_margin.qualname == "A.g"
    assert at_end is not None and at_end.qualname == "A.g"
    assert module.at(text.index("\n\n") + 1) is None


@pytest.mark.parametrize("offset", [-5, 10_000])
def test_an_offset_outside_the_text_is_harmless(offset):
    parse("def f(): pass\n").at(offset)


BROKEN = [
    ("header not closed", "def f(x:\n    return 1\n\ndef g():\n    return 2\n", "f g"),
    ("no colon", "def f(x)\n    return 1\n\ndef g():\n    return 2\n", "f g"),
    ("call not closed", "def f(x):\n    return h(x\n\ndef g():\n    return 2\n", "f g"),
    (
        "list not closed",
        "class A:\n  def f(s):\n    x = [1,\n  def g(s):\n    return 1\n",
        "A.f A.g",
    ),
    (
        "docstring not closed",
        'def f():\n    """Doc\n    return 1\n\ndef g():\n    """D."""\n',
        "f g",
    ),
    ("half an assignment", "def f():\n    x =\n\nasync def g(): return 1\n", "f g"),
    ("half a decorator", "@dec(\ndef f():\n    pass\n\ndef g(): pass\n", "f g"),
    ("a word alone", "def f():\n    pass\n\nimport\n\ndef g():\n    pass\n", "f g"),
    (
        "torn class",
        "class A:\n    def f(s):\n        pass\n(\n    def g(s):\n        pass\n",
        "A.f A.g",
    ),
    ("type here", "def f():\n    for\n\n    def g(): pass\n", "f f.g"),
]


@pytest.mark.parametrize(("text", "names"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_an_error_hides_no_function(text, names):
    module = parse(text)
    assert module.broken
    assert [f.qualname for f in module.functions] == names.split()
    for f in module.functions:
        named = module.at(f.definition.start)
        assert named is not None and named.qualname == f.qualname


def test_in_broken_text_a_sound_function_is_read_in_full():
    sound = "@d\ndef g(a, b=2):\n    '''Doc.'''\n    return (\n        2\n    )"
    text = f"def f(x:\n    return 1\n\n{sound}\n"
    f, g = parse(text).functions
    assert f.broken
    assert f.span.of(text) == "def f(x:\n    return 1"
    assert not g.broken
    assert (g.signature, g.docstring, g.decorators) == ("def g(a, b=2):", "Doc.", ("@d",))
    assert g.span.of(text) == sound


@pytest.mark.parametrize(
    ("body", "stub"),
    [
        ("...", True),
        ("pass", True),
        ("pass  # todo", True),
        ('"""Doc."""', True),
        ('"""Doc."""\n    ...', True),
        ("raise NotImplementedError", True),
        ('raise NotImplementedError("f")', True),
        ("# todo", True),
        ("return None", False),
        ("pass\n    return 1", False),
        ("raise ValueError", False),
        ("passed()", False),
    ],
)
def test_stubs(body, stub):
    text = f"def f():\n    {body}\n"
    assert parse(text).is_stub(function(text, "f")) is stub


COMMENTS = textwrap.dedent(
    """\
    #!/usr/bin/env python
    # -----

    # function: slug(text) -> words
    #   >>> slug("A b")
    #   'a-b'

    X = 1
    # plain words

    # joined
    class A:
        # a method, please

        def f(self):
            # inside f
            return 1
    """
)


def test_a_comment_block_without_marks_and_margin():
    module = parse(COMMENTS)
    block = module.comment_at(COMMENTS.index(">>>"))
    assert block is not None
    assert block.text == "function: slug(text) -> words\n  >>> slug(\"A b\")\n  'a-b'"
    assert (block.line, block.indent) == (3, "")
    assert block.span.of(COMMENTS).startswith("# function") and block.span.of(COMMENTS).endswith(
        "'"
    )
    method = module.comment_at(COMMENTS.index("a method"))
    assert method is not None and method.indent == "    "


def test_a_selection_joins_blocks():
    start, end = COMMENTS.index("# plain"), COMMENTS.index("class A")
    block = parse(COMMENTS).comment_at(start, end)
    assert block is not None and block.text == "plain words\njoined"


@pytest.mark.parametrize("needle", ["#!/usr", "# -----", "# inside f", "X = 1", "def f"])
def test_no_description_there(needle):
    at = COMMENTS.index(needle)
    assert parse(COMMENTS).comment_at(at, at) is None


def test_a_comment_above_a_function_is_the_functions():
    text = "# about f\ndef f(): pass\n"
    assert parse(text).comment_at(3) is None


def test_a_line_of_a_string_is_no_comment():
    text = 'x = """\n# not a comment\n"""\n'
    assert parse(text).comment_at(text.index("not")) is None


def test_feedback_is_read_inside_and_above_but_not_from_strings_or_neighbours():
    text = textwrap.dedent(
        '''\
        # oci: above
        def f():
            """# oci: in a string"""
            # OCI:   own line
            x = 1  # oci: behind code
            def g():
                # oci: inner
                pass
            # oci:
            # oci: below


        # oci: neighbour
        y = 2
        '''
    )
    module = parse(text)
    words = feedback_lines(module, function(text, "f"))
    assert words == ("above", "own line", "behind code", "below")
    assert feedback_lines(module, function(text, "f.g")) == ("inner",)


def test_imports_are_those_of_the_module():
    text = "import a\nif x:\n    from b import c\ndef f():\n    import d\n"
    assert [s.of(text) for s in parse(text).imports] == ["import a", "from b import c"]


def test_a_reparsed_version_is_the_same_as_a_fresh_one():
    lines = [f"def f{i}(x):\n    return x + {i}\n\n\n" for i in range(1500)]
    text = "".join(lines)
    parse(text)
    for change in ("\n# é\n", "(", "    y = 1\n", '"""'):
        at = text.index("def f700")
        changed = text[:at] + change + text[at:]
        assert parse(changed).functions == Module(changed).functions


def test_a_lookup_in_ten_thousand_lines_after_a_keystroke_is_quick():
    piece = (
        'def f{0}(x):\n    """Doc."""\n    total = 0\n'
        "    for k in range(x):\n        total += {0}\n    return total\n\n\n"
    )
    text = "".join(piece.format(i) for i in range(1250))
    assert text.count("\n") == 10_000
    parse(text)
    seconds = []
    for step in range(7):
        at = text.index("def f600")
        text = text[:at] + f"# {step}\n" + text[at:]
        start = time.perf_counter()
        found = parse(text).at(text.index("total += 600"))
        seconds.append(time.perf_counter() - start)
        assert found is not None and found.name == "f600"
    # 10 ms on a quiet core; others may be at work on this machine.
    assert sorted(seconds)[len(seconds) // 2] < 0.1
