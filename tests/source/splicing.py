"""A module to put replies into, and short ways to do it."""

from __future__ import annotations

import ast
import textwrap

import pytest

from oci_lsp.errors import RejectedReplyError
from oci_lsp.source.functions import Function, parse
from oci_lsp.source.splice import Spliced, splice

MODULE = textwrap.dedent(
    '''\
    """Shop."""
    import os
    from typing import List

    TAX = 3


    def rate(x):
        return TAX * x


    # the price
    @cached
    def price(items: List[int], n=2) -> int:  # in cents
        """Sum up.

        >>> price([1])
        3
        """
        # oci: no loop
        return sum(items)  # wrong


    class Cart:
        """A cart."""

        limit: int = 3

        def __init__(self):
            self.items = []

        def add(self, item, *, count=1):
            self.items.append(item)

        @property
        def total(self):
            return price(self.items)

        @total.setter
        def total(self, value):
            raise AttributeError


    x = price([])
    '''
)


def target(text: str, qualname: str) -> Function:
    found = parse(text).named(qualname)
    assert found is not None
    return found


def put(text: str, qualname: str, reply: str, *, keep_signature: bool = True) -> Spliced:
    spliced = splice(parse(text), target(text, qualname), reply, keep_signature=keep_signature)
    assert spliced.function.of(spliced.text) == spliced.code
    assert spliced.qualname == qualname
    ast.parse(spliced.text)
    return spliced


def block(code: str) -> str:
    return f"Sure, here it is:\n\n```python\n{textwrap.dedent(code).strip()}\n```\n\nIt works now."


def rejection(text: str, qualname: str, reply: str) -> str:
    with pytest.raises(RejectedReplyError) as caught:
        splice(parse(text), target(text, qualname), reply)
    return str(caught.value)
