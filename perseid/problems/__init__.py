"""Seed problems: what is asked, what demonstrates it, and the library of functions that answers it."""
