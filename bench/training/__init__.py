"""Training: one loop, its recipes, sources of lines and augmentation."""
