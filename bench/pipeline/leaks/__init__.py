"""Leaks: test lines seen in training, in another split or in a model's text."""
