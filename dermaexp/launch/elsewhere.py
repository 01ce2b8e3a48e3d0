"""Names that other frameworks and command lines have, and what to give here instead."""

from __future__ import annotations

HERE = {  # the name of a key elsewhere -> the key, or words that do the same
    **dict.fromkeys(("lr", "learning_rate"), "optimizer.lr=VALUE"),
    "momentum": "optimizer.momentum=VALUE",
    "weight_decay": "optimizer.weight_decay=VALUE",
    **dict.fromkeys(("optim", "opt"), "optimizer=adam"),
    **dict.fromkeys(("criterion", "loss_fn"), "loss=NAME"),
    **dict.fromkeys(("lr_scheduler", "sched"), "scheduler=NAME"),
    **dict.fromkeys(("num_epochs", "n_epochs", "max_epochs"), "epochs=N"),
    **dict.fromkeys(("batch", "bs"), "batch_size=N"),
    **dict.fromkeys(("arch", "net", "backbone"), "model=NAME"),
    **dict.fromkeys(("device", "accelerator", "gpu", "cuda"), "trainer=cpu or trainer=gpu"),
    **dict.fromkeys(("devices", "gpus"), "trainer=gpu trainer.devices=N"),
    **dict.fromkeys(("precision", "amp"), "trainer.precision=bf16-mixed"),
    **dict.fromkeys(
        ("data", "data_dir", "data_path"),
        "dataset=npz dataset.path=FILE or dataset=folder dataset.path=DIR",
    ),
    "augmentation": "augment=NAME",
    **dict.fromkeys(("output_dir", "out_dir"), "hydra.run.dir=DIR"),
    **dict.fromkeys(("random_state", "random_seed"), "seed=N"),
}
VERBS = ("train", "fit", "run", "sweep", "test")  # that other command lines have
