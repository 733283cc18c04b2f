"""Imports and helpers of a reply, and where in the module they go."""

from __future__ import annotations

import pytest

from oci_lsp.source.functions import parse
from oci_lsp.source.splice import splice
from tests.source.splicing import MODULE, block, put, target


def test_imports_that_are_needed_are_merged_and_others_are_not():
    spliced = put(
        MODULE,
        "price",
        block(
            """
            from __future__ import annotations
            import os
            import json
            import math
            from typing import List, Optional, Dict
            from collections import Counter as C

            def price(items, n=2):
                a: Optional[int] = math.floor(os.getpid())
                return C(items)
            """
        ),
    )
    head = spliced.text.split("TAX")[0]
    assert head == (
        '"""Shop."""\nimport os\nfrom typing import List, Optional\nimport math\n'
        "from collections import Counter as C\n\n"
    )


def test_a_star_import_never_enters_the_users_module():
    reply = block(
        """
        from math import *
        from os import *

        def price(items, n=2):
            return floor(sum(items))
        """
    )
    text = put(MODULE, "price", reply).text
    assert "*" not in text.partition("def rate")[0]
    assert "return floor(sum(items))" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f(): pass\n", "import re\n\n\ndef f(): return re\n"),
        ('"""Doc."""\n\ndef f(): pass\n', '"""Doc."""\n\nimport re\n\ndef f(): return re\n'),
        (
            "#!/usr/bin/python\n# licence\n\n\ndef f(): pass\n",
            "#!/usr/bin/python\n# licence\n\nimport re\n\n\ndef f(): return re\n",
        ),
        ("# about f\ndef f(): pass\n", "import re\n\n\n# about f\ndef f(): return re\n"),
        (
            "from __future__ import annotations\ndef f(): pass\n",
            "from __future__ import annotations\nimport re\ndef f(): return re\n",
        ),
        (
            "import a\ndef f(): pass\nimport z\n",
            "import a\nimport re\ndef f(): return re\nimport z\n",
        ),
        (
            "try:\n    import re\nexcept ImportError:\n    re = None\ndef f(): pass\n",
            "try:\n    import re\nexcept ImportError:\n    re = None\ndef f(): return re\n",
        ),
        (
            "\ufeffimport a\r\ndef f(): pass\r\n",
            "\ufeffimport a\r\nimport re\r\ndef f(): return re\r\n",
        ),
        ("\ufeffdef f(): pass\n", "\ufeffimport re\n\n\ndef f(): return re\n"),
    ],
)
def test_where_an_import_goes(text, expected):
    spliced = splice(parse(text), target(text, "f"), "```\nimport re\ndef f(): return re\n```")
    assert spliced.text == expected


def test_a_parenthesised_import_is_left_alone():
    text = "from a import (\n    b,\n)\n\ndef f():\n    pass\n"
    spliced = put(text, "f", block("from a import b, c\ndef f():\n    return b, c"))
    assert spliced.text.startswith("from a import (\n    b,\n)\nfrom a import c\n\ndef f")


def test_helpers_go_directly_before_the_function_with_its_comment():
    spliced = put(
        MODULE,
        "price",
        block(
            """
            def unused(): pass

            # doubles
            def twice(x):
                return deeper(x) * 2

            def price(items, n=2):
                return twice(sum(items))

            def deeper(x):
                return x
            """
        ),
    )
    between = spliced.text.split("return TAX * x\n")[1].split("@cached")[0]
    assert between == (
        "\n\n# doubles\ndef twice(x):\n    return deeper(x) * 2\n\n\n"
        "def deeper(x):\n    return x\n\n\n# the price\n"
    )


def test_helpers_of_a_method_module_level_before_the_class_methods_before_the_method():
    spliced = put(
        MODULE,
        "Cart.add",
        block(
            """
            def check(item):
                return item

            class Cart:
                limit: int = 3

                def __init__(self):
                    self.items = []

                def _grow(self, item):
                    self.items.append(check(item))

                def _never(self): ...

                def add(self, item, *, count=1):
                    for _ in range(count):
                        self._grow(item)
            """
        ),
    )
    expected = MODULE.replace(
        "class Cart:", "def check(item):\n    return item\n\n\nclass Cart:"
    ).replace(
        "    def add(self, item, *, count=1):\n        self.items.append(item)\n",
        "    def _grow(self, item):\n        self.items.append(check(item))\n\n"
        "    def add(self, item, *, count=1):\n        for _ in range(count):\n"
        "            self._grow(item)\n",
    )
    assert spliced.text == expected
