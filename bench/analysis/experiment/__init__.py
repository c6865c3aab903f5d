"""Experiments over many systems, with contrasts declared in advance."""
