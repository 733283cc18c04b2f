from shop.cart import Cart


def test_total_counts_the_quantity():
    cart = Cart()
    cart.add("tea", "3.50", quantity=2)
    cart.add("mug", "7")
    assert cart.total() == 1400


def test_an_empty_cart_costs_nothing():
    assert Cart().total() == 0
