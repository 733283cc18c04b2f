"""The same tests in reverse order and under other names: a candidate must not know them by either.

A candidate can look for the test that calls it (a frame's code name, PYTEST_CURRENT_TEST) or count
on the order of the calls. What only works for the tests as they stand is no repair.
"""

import os
from types import FunctionType
from typing import Any, Dict, List


def disguise(items: List[Any]) -> None:
    """Reverse the collected items in place and rename what running code can see of each.

    An item keeps its own name (`request.node.name`): honest plugins file results under it.
    """
    items.reverse()
    for item in items:
        function = getattr(item, "function", None) or getattr(item, "obj", None)
        function = getattr(function, "__func__", function)
        name = "test_" + os.urandom(4).hex()
        while isinstance(function, FunctionType):
            new: Dict[str, Any] = {"co_name": name}
            if hasattr(function.__code__, "co_qualname"):  # Python 3.11
                new["co_qualname"] = name
            function.__code__ = function.__code__.replace(**new)
            function = getattr(function, "__wrapped__", None)
        # PYTEST_CURRENT_TEST is made from the node id, which pytest keeps in its own ways.
        own, bracket, parameters = str(item.nodeid).partition("[")
        node_id = own.rpartition("::")[0] + "::" + name + bracket + parameters
        kind = type(item)
        metaclass: Any = type(kind)
        item.__class__ = metaclass(
            kind.__name__, (kind,), {"__slots__": (), "nodeid": node_id, "__module__": __name__}
        )
