"""Language models for decoders: estimation, files and scores."""
