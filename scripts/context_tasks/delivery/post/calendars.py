"""Days on which the post works."""

from datetime import date, timedelta


class Calendar:
    """Working days of one country."""

    def __init__(self, closed, holidays):
        self.closed = closed
        self.holidays = holidays

    def is_open(self, day):
        return day.weekday() not in self.closed and day not in self.holidays

    def nth_open_day(self, start, count):
        """The day that lies `count` working days after `start`."""
        day = start
        while count:
            day += timedelta(days=1)
            count -= self.is_open(day)
        return day


_CALENDARS = {
    "de": Calendar({6}, {date(2026, 5, 1)}),
    "il": Calendar({4, 5}, {date(2026, 4, 22)}),
}


def calendar_for(country):
    return _CALENDARS[country]
