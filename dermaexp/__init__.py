"""Config-driven, honest experiments on DermaMNIST and its MedMNIST siblings."""

__version__ = "0.2.0"
