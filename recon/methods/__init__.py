"""One published method a file, each a LightningModule that keeps the contract of `base.py`."""
