from titles.catalogue import Catalogue


def test_shelf():
    catalogue = Catalogue()
    catalogue.add("The Café & the Sea", "A1")
    catalogue.add("War and Peace", "B2")
    assert catalogue.shelf("Cafe and Sea") == "A1"
    assert catalogue.shelf("war & peace!") == "B2"
    assert catalogue.shelf("Emma") is None
