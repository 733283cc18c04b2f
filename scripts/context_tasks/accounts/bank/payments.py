"""Payments."""

from bank.ledger import account_of


def may_pay(owner, cents):
    """Whether the owner has that much to spend."""
    account = account_of(owner)
    return cents <= account.balance
