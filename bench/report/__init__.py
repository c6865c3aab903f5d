"""Tables, plots and pages from rows: the only place that rounds (written by `output`)."""
