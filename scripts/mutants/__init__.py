"""Mutants of real projects: drawing them, and what the projects' own tests make of them."""
