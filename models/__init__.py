"""The weights: engines, policy, process preference model, trainers. Run from the repository's root, never installed."""
