"""Networks as ONNX files and as programs of `torch.export`, compared with what they were made from."""

from poolbench.export.network import DifferenceError, Exported, export_network
from poolbench.export.trained import Normalised, Trained, write_trained

__all__ = ["DifferenceError", "Exported", "Normalised", "Trained", "export_network", "write_trained"]
