"""Frames, neighbours, sampling, normals, iso-surfaces: numpy and torch only."""
