"""The classifiers by the names that the experiments call them."""

from functools import partial

from reproduction.cnn import CNNClassifier
from reproduction.random_couplings import RandomCouplingsClassifier
from skcaps import CapsNetClassifier, EfficientCapsNetClassifier

NETWORKS = {
    "capsnet": CapsNetClassifier,
    "capsnet-random": partial(RandomCouplingsClassifier, routing="learned"),
    "efficient": EfficientCapsNetClassifier,
    "cnn-small": partial(CNNClassifier, architecture="small"),
    "cnn-large": partial(CNNClassifier, architecture="large"),
    "cnn-paper": partial(CNNClassifier, architecture="paper"),
}
