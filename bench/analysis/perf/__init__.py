"""Claims of speed as duels: ours against a peer, on the same input, turn by turn in one run."""
