"""Pre-trained helpers behind small protocols."""
