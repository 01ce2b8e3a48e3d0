"""Sources give `Splits`; `ImageDataModule` turns them into batches."""
