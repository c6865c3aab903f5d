"""The CTC decoders: frames to text, without and with a language model."""
