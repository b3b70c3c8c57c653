"""Plain nn.Modules: no Lightning, no Hydra, no files."""
