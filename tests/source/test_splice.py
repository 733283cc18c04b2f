"""Replies of models are put into the module by the rules, or rejected with a reason."""

from __future__ import annotations

import pytest

from oci_lsp.source.functions import parse
from oci_lsp.source.layout import dedented
from oci_lsp.source.splice import splice
from tests.source.splicing import MODULE, block, put, rejection, target


def test_the_users_head_and_docstring_stay_and_the_feedback_goes():
    spliced = put(
        MODULE,
        "price",
        block(
            '''
            def price(items, n=2):
                """Another text."""
                return sum(map(rate, items))
            '''
        ),
    )
    assert spliced.text == MODULE.replace(
        "    # oci: no loop\n    return sum(items)  # wrong\n",
        "    return sum(map(rate, items))\n",
    )


ADD = "self.items.extend([item] * count)"
METHOD_REPLIES = {
    "dedented": f"def add(self, item, *, count=1):\n    {ADD}",
    "as in the class": f"    def add(self, item, *, count=1):\n        {ADD}",
    "only the first line dedented": f"def add(self, item, *, count=1):\n        {ADD}",
    "two spaces": f"def add(self, item, *, count=1):\n  {ADD}",
    "tabs": f"def add(self, item, *, count=1):\n\t{ADD}",
    "one line": f"def add(self, item, *, count=1): {ADD}",
    "class with elided rest": (
        f"class Cart:\n    ...\n    def __init__(self): ...\n    # ...\n"
        f"    def add(self, item, *, count=1):\n        {ADD}\n"
    ),
    "import at the margin": (f"import os\n\n    def add(self, item, *, count=1):\n        {ADD}"),
    "use at the margin": (
        f"    def add(self, item, *, count=1):\n        {ADD}\n\ncart = Cart()\ncart.add(1)"
    ),
    "both accessors too": (
        f"class Cart:\n    def add(self, item, *, count=1):\n        {ADD}\n"
        "    @property\n    def total(self):\n        return price(self.items)\n"
        "    @total.setter\n    def total(self, value):\n        raise AttributeError\n"
    ),
}


@pytest.mark.parametrize("reply", METHOD_REPLIES.values(), ids=METHOD_REPLIES)
def test_a_method_comes_in_many_forms(reply):
    spliced = put(MODULE, "Cart.add", f"```python\n{reply}\n```")
    assert spliced.text == MODULE.replace("self.items.append(item)", ADD)


@pytest.mark.parametrize(
    "after",
    [
        "# Example usage\nprint(price([1]))",
        "assert price([1]) == 1",
        "items = [1, 2]\nresult = price(items)\nprint(result)",
        "for case in [[1]]:\n    print(price(case))",
        "def test_price():\n    assert price([1]) == 1\n\ntest_price()",
        "def main():\n    print(price([1]))\n\nif __name__ == '__main__':\n    main()",
        "import unittest\n\nclass TestPrice(unittest.TestCase):\n    def test(self): price([1])",
        "try:\n    price(None)\nexcept TypeError as error:\n    print(error)",
        "price([1])  # 1",
        "print('unfinished",
        "...",
        "TAX = 3",
    ],
)
def test_what_a_model_adds_for_illustration_is_dropped(after):
    spliced = put(MODULE, "price", block("def price(items, n=2):\n    return 7\n\n") + "")
    with_more = put(
        MODULE, "price", f"```python\ndef price(items, n=2):\n    return 7\n\n\n{after}\n```"
    )
    assert with_more.text == spliced.text


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("I would use a loop here.", "no code block"),
        ("", "no code block"),
        ("```bash\npytest\n```", "no code block"),
        ("```python\nprint(1)\n```", "does not define `price`"),
        ("```python\ndef cost(items, n=2):\n    return 1\n```", "does not define `price`"),
        ("```python\ndef price(items, n=2)\n    return 1\n```", "does not parse: expected ':'"),
        ("```python\ndef price(items, n=2):\n    return sum(\n", "stopped before its end"),
        ("```python\ndef price(items, n=2):\n    print items\n```", "does not parse"),
        ("```python\ndef price(items):\n    return 1\n```", "keep `def price("),
        ("```python\ndef price(items, n=3):\n    return 1\n```", "signature"),
        ("```python\ndef price(things, n=2):\n    return 1\n```", "signature"),
        ("```python\nasync def price(items, n=2):\n    return 1\n```", "signature"),
        ("```python\nCACHE = {}\ndef price(items, n=2):\n    return CACHE\n```", "`CACHE = {}`"),
        ("```python\ndef price(items, n=2):\n    return CACHE\nCACHE = {}\n```", "`CACHE = {}`"),
        ("```python\nX = 1\ndef price(items, n=2):\n    return 1\n```", "`X = 1`"),
        ("```python\ndef price(items, n=2):\n    return 1\nprice.n = 2\n```", "`price.n = 2`"),
        ("```python\ndef price(items, n=2):\n    return 1\nprice = len\n```", "`price = len`"),
        ("```python\nclass A: pass\ndef price(items, n=2):\n    return A\n```", "`class A: pass`"),
        (
            "```python\ndef rate(x):\n    return 0\ndef price(items, n=2):\n    return 1\n```",
            "`rate`",
        ),
        ("```python\nimport sys as os\ndef price(items, n=2):\n    return os\n```", "`import os`"),
        (
            "```python\nclass S:\n    def price(self, items, n=2):\n        return 1\n```",
            "top level",
        ),
    ],
)
def test_what_is_rejected_says_why(reply, reason):
    assert reason in rejection(MODULE, "price", reply)


@pytest.mark.parametrize(
    ("inside", "reason"),
    [
        ("limit = 9", "`limit = 9`"),
        ("def __init__(self):\n        self.items = {}", "`Cart.__init__`"),
        ("@property\n    def total(self):\n        return 0", "`Cart.total`"),
        ("def __init__(self): self.items = []\n    other = 2", "`other = 2`"),
    ],
)
def test_a_reply_may_not_change_the_rest_of_the_class(inside, reason):
    reply = f"class Cart:\n    {inside}\n    def add(self, item, *, count=1):\n        pass"
    assert reason in rejection(MODULE, "Cart.add", f"```python\n{reply}\n```")


def test_the_signature_may_change_where_the_user_asked_for_it():
    reply = block("def price(items: list, n=3, *, m: int = 1) -> float:\n    return n")
    spliced = put(MODULE, "price", reply, keep_signature=False)
    assert (
        "@cached\ndef price(items: list, n=3, *, m: int = 1) -> float:  # in cents\n"
        in spliced.text
    )
    untyped = put(
        MODULE, "price", block("def price(items, n=2):\n    return n"), keep_signature=False
    )
    assert "def price(items: List[int], n=2) -> int:  # in cents" in untyped.text
    typed = put(
        "def f(a):\n    return 1\n",
        "f",
        block("def f(a: int) -> int:\n    return a"),
        keep_signature=False,
    )
    assert typed.text == "def f(a: int) -> int:\n    return a\n"


def test_of_two_accessors_the_one_with_the_targets_decorators_is_taken():
    reply = """
        class Cart:
            @property
            def total(self):
                return 0

            @total.setter
            def total(self, value):
                raise AttributeError
        """
    assert put(MODULE, "Cart.total", block(reply)).text == MODULE.replace(
        "return price(self.items)", "return 0"
    )


def test_the_last_version_that_differs_from_the_present_one_is_taken():
    was = "```python\ndef rate(x):\n    return TAX * x\n```"
    first = "```python\ndef rate(x):\n    return 1\n```"
    second = "```python\ndef rate(x):\n    return 2\n```"
    use = "```python\nprint(rate(1))\n```"
    assert (
        "return 1\n" in put(MODULE, "rate", f"The bug:\n{was}\nFixed:\n{first}\nUse:\n{use}").text
    )
    assert "return 2\n" in put(MODULE, "rate", f"{first}\nBetter:\n{second}\n").text
    assert "return 1\n" in put(MODULE, "rate", f"{first}\nIt was:\n{was}\n").text
    broken = "```python\ndef rate(x):\n    return (\n```"
    assert "return 1\n" in put(MODULE, "rate", f"{first}\n{broken}").text


def test_an_unchanged_function_is_spliced_too():
    assert put(MODULE, "rate", block("def rate(x):\n    return TAX * x")).text == MODULE


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_line_ends_and_the_final_one_are_kept(newline, end):
    text = ("import a\n\n\ndef f(x):\n    y = 1\n\n    return x" + end).replace("\n", newline)
    spliced = splice(
        parse(text), target(text, "f"), "```\nimport re\ndef f(x):\n    y = 2\n\n    return re\n```"
    )
    expected = "import a\nimport re\n\n\ndef f(x):\n    y = 2\n\n    return re" + end
    assert spliced.text == expected.replace("\n", newline)


def test_tabs_are_used_where_the_module_uses_them():
    text = "class A:\n\tdef f(self, x):\n\t\tif x:\n\t\t\treturn (1,\n\t\t\t\t2)\n\t\treturn 3\n"
    reply = """
        def helper(a):
            return a

        def f(self, x):
            # first
            for i in x:
                if i:
                    # found
                    return helper(
                        i,
                    )
            return 3
        """
    spliced = put(text, "A.f", block(reply))
    assert spliced.text == (
        "def helper(a):\n\treturn a\n\n\n"
        "class A:\n\tdef f(self, x):\n\t\t# first\n\t\tfor i in x:\n\t\t\tif i:\n\t\t\t\t# found\n"
        "\t\t\t\treturn helper(\n\t\t\t\t\ti,\n\t\t\t\t)\n\t\treturn 3\n"
    )


def test_strings_over_several_lines_are_not_indented():
    text = "class A:\n    def f(self):\n        return 1\n"
    spliced = put(text, "A.f", '```python\ndef f(self):\n    return """a\n  b\nc"""\n```')
    assert spliced.text == 'class A:\n    def f(self):\n        return """a\n  b\nc"""\n'


def test_a_method_is_shown_at_the_margin_with_its_strings_as_they_are():
    text = (
        'class A:\n    def f(self):\n        """Doc.\n\n        More.\n        """\n'
        '        return """a\n        b"""\n'
    )
    shown = dedented(parse(text), target(text, "A.f"))
    assert shown == (
        'def f(self):\n    """Doc.\n\n    More.\n    """\n    return """a\n        b"""'
    )
    assert put(text, "A.f", f"```python\n{shown}\n```").text == text


def test_white_space_of_unchanged_lines_is_the_users():
    text = "def f(x):\n    a = 1   \n\t\n    b = 2\n    return a\n"
    spliced = put(text, "f", "```\ndef f(x):\n    a = 1\n\n    b = 3\n    return a\n```")
    assert spliced.text == text.replace("b = 2", "b = 3")


@pytest.mark.parametrize(
    ("text", "reply", "expected"),
    [
        ("def f(): return 1\n", "def f(): return 2", "def f(): return 2\n"),
        ("def f(): return 1\n", "def f():\n  return 2", "def f():\n    return 2\n"),
        ("def f():\n  return 1\n", "def f(): return 2", "def f():\n  return 2\n"),
        ('def f(): "Doc."\n', "def f():\n    return 2", 'def f():\n    "Doc."\n    return 2\n'),
        ('def f(): "Doc."\n', 'def f(): "Doc."', 'def f(): "Doc."\n'),
        (
            'def f(): "Doc."; return 1\n',
            'def f(): "D"; return 2',
            'def f():\n    "Doc."\n    return 2\n',
        ),
        (
            'def f():\n    "Doc."\n',
            'def f():\n    "D"\n    return 2',
            'def f():\n    "Doc."\n    return 2\n',
        ),
        ("def f():\n    return 1;\n", "def f():\n    return 2", "def f():\n    return 2\n"),
        (
            "def f(\n  a,\n):\n  return 1\n",
            "def f(a): return [\n    a]",
            "def f(\n  a,\n):\n  return [\n    a]\n",
        ),
        ("def f():\n    # todo\n", "def f():\n    return 2", "def f():\n    return 2\n"),
    ],
)
def test_functions_of_one_line_and_other_shapes(text, reply, expected):
    assert put(text, "f", f"```python\n{reply}\n```").text == expected


def test_new_syntax_passes_where_it_may_be_right():
    text = "def first[T](items: list[T]) -> T:\n    return items\n"
    module = parse(text)
    reply = "```python\ndef first[T](items: list[T]) -> T:\n    return items[0]\n```"
    spliced = splice(module, target(text, "first"), reply)
    assert spliced.text == text.replace("return items", "return items[0]")


def test_a_nested_function_alone_or_within_its_outer_one():
    text = "def outer(a):\n    def inner(b):\n        return b\n    return inner(a)\n"
    expected = text.replace("return b", "return b + 1")
    assert put(text, "outer.inner", block("def inner(b):\n    return b + 1")).text == expected
    whole = block("def outer(a):\n    def inner(b):\n        return b + 1\n    return inner(a)")
    assert put(text, "outer.inner", whole).text == expected
    changed = block("def outer(a):\n    def inner(b):\n        return b + 1\n    return a")
    assert "`return a`" in rejection(text, "outer.inner", changed)


def test_a_broken_function_is_replaced_whole():
    text = "import a\n\ndef f(x:\n    return (1\n\ndef g():\n    return 2\n"
    spliced = splice(parse(text), target(text, "f"), block("def f(x):\n    return 1"))
    assert spliced.text == "import a\n\ndef f(x):\n    return 1\n\ndef g():\n    return 2\n"


def test_an_error_elsewhere_does_not_matter():
    text = "def f(x):\n    return 1\n\n\ndef g(:\n    pass\n"
    spliced = splice(parse(text), target(text, "f"), block("def f(x):\n    return 2"))
    assert spliced.text == text.replace("return 1", "return 2")


def test_emoji_before_the_function_do_not_shift_it():
    text = "NAME = '🎉é'\n\n\ndef f(x):\n    # 🎉\n    return '🎉'\n\n\ny = 'é'\n"
    spliced = put(text, "f", block("def f(x):\n    # 🎉\n    return 'é🎉'"))
    assert spliced.text == text.replace("return '🎉'", "return 'é🎉'")


def test_feedback_comments_do_not_survive_anywhere():
    text = (
        "# about f\n# oci: above\ndef f(x):\n    '''Doc.'''\n    a = 1  # oci: behind\n"
        "    # oci: alone\n    return a\n    # oci: last\n"
    )
    reply = block("def f(x):\n    a = 1\n    # oci: alone\n    return a  # oci: done")
    assert put(text, "f", reply).text == (
        "# about f\ndef f(x):\n    '''Doc.'''\n    a = 1\n    return a\n"
    )
