"""Where accounts are kept."""

from bank.accounts import Account

_ROWS = {"ann": (10_000, 2_500, 0), "bob": (100, 0, 50_000), "eve": (700, 700, 0)}


def account_of(owner):
    return Account(owner, *_ROWS[owner])
