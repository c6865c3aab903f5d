"""Experiments: questions that are put to many systems at once, declared before they are run."""
