from orders.report import open_numbers


def test_open_numbers(make_order):
    orders = [make_order(1), make_order(2, "delivered"), make_order(3, "called off")]
    assert open_numbers(orders) == [1]
