"""Reproducible builds of data sets from public sources."""
