"""One dataset a file, each a LightningDataModule."""
