"""Meshes to training data in the published formats: what `recon prepare data=NAME source=...` runs."""
