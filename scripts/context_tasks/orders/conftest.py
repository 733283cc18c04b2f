from datetime import date

import pytest

from orders.models import Order

DAY = date(2026, 3, 2)


@pytest.fixture
def make_order():
    def make(number, state="new"):
        order = Order(number, DAY)
        if state == "delivered":
            order.handed_over_on = DAY
        if state == "called off":
            order.withdrawn_on = DAY
        return order

    return make
