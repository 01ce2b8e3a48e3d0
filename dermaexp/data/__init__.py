"""Sources return `Splits`; `ImageDataModule` turns them into batches."""
