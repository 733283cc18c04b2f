import pytest

from trails.trail import total


def test_total():
    assert total([(2, "chain"), (3, "rod"), (1, "verst"), (5, "li"), (7, "m")]) == pytest.approx(
        3629.1212
    )
