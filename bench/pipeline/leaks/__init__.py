"""What of the tested lines was seen before: in a training, in a split, in a model's text."""
