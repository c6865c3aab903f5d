"""Weights of a decoder, searched for on a validation split and frozen for every later run."""
