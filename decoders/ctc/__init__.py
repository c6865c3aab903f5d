"""The CTC decoders: frames to text, without language and with measured doses of it."""
