from decimal import Decimal

from bill.invoice import gross
from bill.vat import rate_for


def test_every_category():
    for category in ("book", "food", "train", "stamp", "solar", "hotel", "chair"):
        assert gross(Decimal(100), category) == 100 + 100 * rate_for(category)
