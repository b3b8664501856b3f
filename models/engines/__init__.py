"""Engines behind `perseid.engine`: who continues text, who scores it."""
