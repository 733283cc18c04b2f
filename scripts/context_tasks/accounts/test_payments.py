from bank.payments import may_pay


def test_may_pay():
    assert may_pay("ann", 7_500) and not may_pay("ann", 7_501)
    assert may_pay("bob", 50_100) and not may_pay("bob", 50_101)
    assert not may_pay("eve", 1)
