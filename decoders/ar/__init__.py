"""The autoregressive decoders: the encoder's own language-model head, read token by token."""
