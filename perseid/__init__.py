"""Perseid: language models that evolve from their own verified work. The science, free of torch, Dagster and MLflow."""

__version__ = "0.1.0"
