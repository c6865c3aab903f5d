"""Training of CTC heads on TrOCR-shaped encoders, frozen or trained along."""
