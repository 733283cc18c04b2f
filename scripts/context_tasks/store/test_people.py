from store.people import People


def test_find():
    people = People()
    people.put("Lovelace, Ada", 1)
    people.put("Grace Hopper", 2)
    assert people.find("Ada Lovelace") == 1
    assert people.find("HOPPER, GRACE") == 2
    assert people.find("Alan Turing") is None
