"""Test lines that were seen before: in a training, in a split, in a model's text."""
