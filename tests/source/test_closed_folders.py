"""Folders of a project that the user may not read: they hold nobody up."""

from __future__ import annotations

import os

import pytest

from oci_lsp.source.functions import parse
from oci_lsp.source.tests import find_tests
from tests.projects import write


@pytest.mark.skipif(os.getuid() == 0, reason="nothing is closed to root")
def test_a_closed_folder_is_passed_over(tmp_path):
    source = "def add(a, b): ...\n"
    test = "from calc import add\n\n\ndef test_add():\n    assert add(1, 1) == 2\n"
    root = write(tmp_path, {"calc.py": source, "test_calc.py": test, "data/db.py": ""})
    (root / "data").chmod(0)
    try:
        module = parse(source)
        found = find_tests(root, root / "calc.py", module, module.functions[0])
    finally:
        (root / "data").chmod(0o700)
    assert found.node_ids == ("test_calc.py::test_add",)
