"""A search for hyper-parameters by Optuna: `-m hparams_search=optuna`."""
