from inbox.reader import read


def test_ini():
    assert read("a.INI", "[main]\n; note\nname = Ann\n\nage=3\n") == {"name": "Ann", "age": "3"}


def test_table():
    assert read("b.tab", "name\tage\nAnn\t3\nBob\t4\n") == {"name": "Ann|Bob", "age": "3|4"}
