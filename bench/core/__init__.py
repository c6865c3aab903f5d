"""What every folder may import: types, errors, options, records, files, machine, metrics."""
