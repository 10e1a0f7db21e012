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
    # In batches as large as those of the capsule network that each is compared with.
    "cnn-large": partial(CNNClassifier, architecture="large", batch_size=32),
    "cnn-paper": partial(CNNClassifier, architecture="paper", batch_size=32),
}
