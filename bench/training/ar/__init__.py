"""Fine-tuning of a TrOCR, encoder and AR decoder, on lines of data sets."""
