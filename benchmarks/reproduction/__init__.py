"""The experiments of the papers, as `reproduce.py` runs them."""
