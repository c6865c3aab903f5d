"""The autoregressive decoders, by the encoder's own AR head."""
