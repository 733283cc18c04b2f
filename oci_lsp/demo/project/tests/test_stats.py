from shop.stats import median


def test_odd_count():
    assert median([5, 1, 3]) == 3


def test_even_count():
    assert median([4, 1, 3, 2]) == 2.5
