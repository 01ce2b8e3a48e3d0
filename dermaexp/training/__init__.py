"""The LightningModule and all that trains it."""
