"""Language models that decoders read: estimated, written, read, held as tables."""
