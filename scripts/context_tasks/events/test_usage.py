from probe.usage import sent_kib
from samples import sample


def test_sent():
    events = [sample("cam", 3.0, 1.5), sample("gps", 9.0), sample("cam", 2.0)]
    assert sent_kib(events, "cam") == 6.5
    assert sent_kib(events, "mic") == 0
