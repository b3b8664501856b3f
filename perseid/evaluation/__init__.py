"""Ways of answering the held-out problems, what the answers prove, and whether what was verified holds elsewhere."""
