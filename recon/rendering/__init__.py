"""Rays, sphere tracing, volume rendering, visibility."""
