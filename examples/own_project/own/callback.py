"""A callback of Lightning's, which only observes."""

from pathlib import Path

from pytorch_lightning import Callback, LightningModule, Trainer


class WeightNorm(Callback):
    """Writes the norm of all weights after each epoch to weight_norm.csv in the run directory."""

    changes_numbers = False  # a run with it is the same run as one without

    def __init__(self, digits: int) -> None:
        self.digits = digits
        self.rows = ["epoch,norm"]

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        norm = sum(float(weights.square().sum()) for weights in module.parameters()) ** 0.5
        self.rows.append(f"{trainer.current_epoch + 1},{norm:.{self.digits}f}")
        if trainer.is_global_zero:
            path = Path(trainer.default_root_dir) / "weight_norm.csv"
            path.write_text("\n".join(self.rows) + "\n")
