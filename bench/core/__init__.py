"""Types, errors, options, records, files, machine and metrics, which every folder may import."""
