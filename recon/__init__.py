"""recon: observations (points, photographs, RGB-D frames) in, a triangle mesh out."""

__version__ = "0.1.0"
