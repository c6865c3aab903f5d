"""Training of `mini`: samples, augmentation, the loop, and its checkpoints."""
