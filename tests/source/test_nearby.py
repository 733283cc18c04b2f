"""Tests to pick from where none references the function."""

from __future__ import annotations

from oci_lsp.source.nearby import nearby_tests
from tests.projects import BUGGY, write


def test_named_alike_then_importing_then_near(tmp_path):
    plain = "def test_{0}():\n    pass\n"
    root = write(
        tmp_path,
        {
            "shop/cart.py": BUGGY,
            "shop/test_zebra.py": plain.format("zebra"),
            "tests/far/test_far.py": plain.format("far"),
            "tests/test_cart.py": plain.format("everything"),
            "tests/test_cli.py": "import shop.cart\n\n\n" + plain.format("run"),
            "tests/test_sums.py": "class TestSums:\n    def test_totalPrice(self):\n        pass\n",
        },
    )
    found = nearby_tests(root, root / "shop/cart.py", "Cart.total_price")
    assert [(test.node_id, test.why) for test in found] == [
        ("tests/test_sums.py::TestSums::test_totalPrice", "names price, total"),
        ("tests/test_cart.py::test_everything", ""),
        ("tests/test_cli.py::test_run", "imports cart"),
        ("shop/test_zebra.py::test_zebra", ""),
        ("tests/far/test_far.py::test_far", ""),
    ]
    assert nearby_tests(root, root / "shop/cart.py", "", most=1)[0].node_id.endswith("everything")


def test_a_project_without_tests_offers_none(tmp_path):
    root = write(tmp_path, {"calc.py": BUGGY})
    assert nearby_tests(root, root / "calc.py", "add") == ()
