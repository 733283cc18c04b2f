"""Parcels."""

from datetime import timedelta

from post.calendars import calendar_for


class Parcel:
    """A parcel to a country."""

    def __init__(self, country, sent):
        self.calendar = calendar_for(country)
        self.sent = sent

    def arrives(self, working_days):
        """The day of arrival, so many working days after it was sent."""
        return self.sent + timedelta(days=working_days)
