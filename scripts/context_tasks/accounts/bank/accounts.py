"""Accounts."""


class Account:
    """One account; amounts in cents."""

    def __init__(self, owner, balance, reserved, credit_line):
        self.owner = owner
        self.balance = balance
        self.reserved = reserved
        self.credit_line = credit_line

    def spendable(self):
        """Cents that may be spent now."""
        return self.balance - self.reserved + self.credit_line
