"""Tasks: what a target is, what a network must give, and how that is judged, example by example."""

from poolbench.score import Score
from poolbench.tasks.classification import Classification
from poolbench.tasks.regression import Regression
from poolbench.tasks.segmentation import Segmentation
from poolbench.tasks.task import Task

__all__ = ["Classification", "Regression", "Score", "Segmentation", "Task"]
