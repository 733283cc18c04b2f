from shop.text import slugify


def test_words_are_joined():
    assert slugify("Green Tea") == "green-tea"


def test_punctuation_is_dropped():
    assert slugify("Tea, hot & strong!") == "tea-hot-strong"
