"""A language server that edits a function only after the user's own test has passed on it."""

__version__ = "0.1.0"
