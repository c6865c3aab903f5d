"""Analyses of stored rows, and plans whose rows answer one question."""
