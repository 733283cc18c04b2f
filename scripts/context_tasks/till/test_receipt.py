from decimal import Decimal

import pytest

from till.receipt import Receipt


@pytest.mark.parametrize(
    ("price", "due"), [("1.99", "2.00"), ("2.62", "2.60"), ("0.73", "0.75"), ("4.125", "4.15")]
)
def test_due(price, due):
    receipt = Receipt()
    receipt.add(1, price)
    assert receipt.due() == Decimal(due)
