"""Tables, plots and pages from rows: the only place that rounds (`output` writes them)."""
