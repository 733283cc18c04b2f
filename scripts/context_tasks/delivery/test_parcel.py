from datetime import date

from post.parcel import Parcel


def test_arrives():
    assert Parcel("de", date(2026, 4, 29)).arrives(2) == date(2026, 5, 2)
    assert Parcel("de", date(2026, 4, 29)).arrives(3) == date(2026, 5, 4)
    assert Parcel("il", date(2026, 4, 21)).arrives(2) == date(2026, 4, 26)
