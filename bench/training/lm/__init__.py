"""Training of the embedded language model over characters."""
