"""Lineshaft and its peers, side by side in one run: ``python -m benches.compare``."""
