"""Titles of books."""
