"""The speed table of TrOCR (Li et al. 2021, Table 5), with rows of ours in its own columns."""
