"""Words as they are compared."""

from titles.text._folding import folded

__all__ = ["folded"]
