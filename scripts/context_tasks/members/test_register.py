import pytest

from club.register import Register


@pytest.mark.parametrize("number", ["1234560", "1234561", "123456", "7777777", "12345678"])
def test_a_wrong_number_is_refused(number):
    with pytest.raises(ValueError):
        Register().enter(number, "Ann")


@pytest.mark.parametrize("number", ["1234567", "1000003", "5550201"])
def test_a_right_number_is_entered(number):
    register = Register()
    register.enter(number, "Ann")
    assert register.members == {number: "Ann"}
