"""Convolutional networks to compare with, trained by the code that trains capsules.

Batches, augmentation, optimiser, learning rates and number format are those of the
capsule networks: only the network and the loss, cross entropy, are others. So private
modules are imported here, and in no other benchmark: a loop of its own would compare
trainings, not networks.
"""

import math
from itertools import pairwise

import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import nn
from torch.nn import functional as F

from skcaps.estimators import _inputs
from skcaps.estimators._callbacks import EpochTasks
from skcaps.estimators._dataset import ImageDataset, find_batch_size
from skcaps.estimators._fitted import FittedNetwork
from skcaps.estimators._labels import SingleLabel, find_labels
from skcaps.estimators._machine import Machine, draw_seed, isolated_random_state
from skcaps.estimators._range import input_range
from skcaps.estimators._training import build_net
from skcaps.nn import (
    CapsNetStem,
    EfficientCapsNetStem,
    capsnet_geometry,
    efficient_capsnet,
    efficient_capsnet_geometry,
)
from skcaps.nn._networks import published_norm


class SmallCNN(nn.Module):
    """Efficient-CapsNet's convolutions, then dense layers in place of its capsules.

    The hidden layer is as wide as makes the number of parameters that of
    Efficient-CapsNet without its decoder: 161,766 for 28x28 images and 10 classes.
    """

    def __init__(self, image_shape, n_classes, channels=(32, 64, 64, 128)):
        super().__init__()
        *geometry, last = efficient_capsnet_geometry(
            *image_shape[1:], n_convolutions=len(channels)
        )
        out = channels[-1]
        features = nn.Sequential(
            EfficientCapsNetStem(
                image_shape[0], channels, geometry, norm=published_norm(image_shape)
            ),
            nn.Conv2d(out, out, last.kernel, last.stride, groups=out),
            nn.ReLU(),
            nn.Flatten(),
        )
        capsules = efficient_capsnet(
            image_shape, n_classes, conv_channels=channels, decoder=None
        )
        n_features = out * math.prod(last.output)
        left = count_parameters(capsules) - count_parameters(features) - n_classes
        width = round(left / (n_features + 1 + n_classes))
        self.features = features
        self.head = nn.Sequential(
            nn.Linear(n_features, width), nn.ReLU(), nn.Linear(width, n_classes)
        )

    def forward(self, images):
        """Return the scores of the classes."""
        return self.head(self.features(images))


class LargeCNN(nn.Module):
    """CapsNet's two convolutions, then dense layers in place of its capsules.

    With the default sizes the hidden layer, of 160, has as many weights as all
    transformation matrices: 6,805,994 parameters for 28x28 images and 10 classes.
    """

    def __init__(self, image_shape, n_classes, channels=256, width=160):
        super().__init__()
        first, last = capsnet_geometry(*image_shape[1:], kernel_size=9)
        self.stem = CapsNetStem(image_shape[0], channels, first)
        self.head = nn.Sequential(
            nn.Conv2d(channels, channels, last.kernel, last.stride),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(channels * math.prod(last.output), width),
            nn.ReLU(),
            nn.Linear(width, n_classes),
        )

    def forward(self, images):
        """Return the scores of the classes."""
        return self.head(self.stem(images))


class PaperCNN(nn.Sequential):
    """The baseline of Sabour et al.: 35.4 M parameters for 28x28 images.

    Three 5x5 convolutions of 256, 256 and 128 channels that keep the size of the
    image, dense layers of 328 and 192, dropout before the classes.
    """

    def __init__(self, image_shape, n_classes):
        channels = (image_shape[0], 256, 256, 128)
        layers = []
        for n_in, n_out in pairwise(channels):
            layers += [nn.Conv2d(n_in, n_out, 5, padding=2), nn.ReLU()]
        super().__init__(
            *layers,
            nn.Flatten(),
            nn.Linear(128 * math.prod(image_shape[1:]), 328),
            nn.ReLU(),
            nn.Linear(328, 192),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(192, n_classes),
        )


class PlainCNN(nn.Sequential):
    """Three convolutions and a dense layer: what a person would try first."""

    def __init__(self, image_shape, n_classes):
        channels, *_ = image_shape
        features = nn.Sequential(
            *(nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(32, 64, 3, 2, padding=1), nn.ReLU()),
            *(nn.Conv2d(64, 64, 3, 2, padding=1), nn.ReLU()),
            nn.Flatten(),
        )
        with torch.no_grad():
            n_features = features(torch.zeros(1, *image_shape)).shape[1]
        super().__init__(features, nn.Linear(n_features, n_classes))


ARCHITECTURES = {
    "small": SmallCNN,
    "large": LargeCNN,
    "paper": PaperCNN,
    "plain": PlainCNN,
}


class CrossEntropy(nn.Module):
    """Softmax cross entropy, or one logistic loss for each class of an indicator."""

    def __init__(self, labels, machine):
        super().__init__()
        self.labels = labels
        self.machine = machine

    def forward(self, network, batch, progress=None):
        """Return the loss, the same all along, and the scores (batch, n_classes)."""
        targets = batch.targets
        with self.machine.autocast():
            scores = network(batch.images)
        scores = scores.to(targets.dtype)
        if isinstance(self.labels, SingleLabel):
            return F.cross_entropy(scores, targets), scores
        loss = F.binary_cross_entropy_with_logits(scores, targets, reduction="none")
        return loss.sum(dim=1).mean(), scores

    def accuracy(self, scores, batch):
        """Return the share of samples whose label, or set of labels, is found."""
        found = scores.sigmoid()
        return self.labels.is_right(found, batch.targets).float().mean()


class CNNClassifier(ClassifierMixin, BaseEstimator):
    """A convolutional network with the parameters of skcaps' classifiers."""

    def __init__(
        self,
        *,
        architecture="small",
        sizes=None,
        image_shape="auto",
        learning_rate=2e-3,
        learning_rate_decay="auto",
        learning_rate_warmup=0,
        batch_size="auto",
        max_epochs=10,
        augmentation=None,
        callbacks=None,
        random_state=None,
        verbose=0,
        device="auto",
        precision="float32",
    ):
        self.architecture = architecture
        self.sizes = sizes
        self.image_shape = image_shape
        self.learning_rate = learning_rate
        self.learning_rate_decay = learning_rate_decay
        self.learning_rate_warmup = learning_rate_warmup
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.augmentation = augmentation
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose
        self.device = device
        self.precision = precision

    def fit(self, X, y):
        """Train the network."""
        params = self.get_params(deep=False)
        machine = Machine.find({**params, "compile": False})
        rows, y, layout = _inputs.check_fit_input(self, X, y)
        y, labels = find_labels(y)
        dataset = ImageDataset(
            rows,
            labels.encode(y),
            None,
            layout=layout,
            input_range=input_range(rows),
            labels=labels,
            machine=machine,
        )
        seed = draw_seed(self.random_state)
        # The steps of a capsule classifier's `fit`: weights, then batches.
        with isolated_random_state(seed, 0, machine.device):
            architecture = dict(self.sizes or {})
            network = ARCHITECTURES[self.architecture](
                layout.shape, len(labels.classes), **(self.sizes or {})
            )
        network.to(machine.device, machine.dtype)
        self.n_parameters_ = count_parameters(network)
        self.classes_ = labels.classes
        # A callback may predict while the network trains.
        self.fitted_ = FittedNetwork(
            network,
            architecture,
            layout,
            dataset.input_range,
            labels,
            machine,
            loss="cross_entropy",
            seed=seed,
        )
        with isolated_random_state(seed, 1, machine.device):
            net = build_net(
                network,
                CrossEntropy(labels, machine),
                params,
                device=machine.device,
                batch_size=find_batch_size(self.batch_size, len(dataset)),
                n_images=len(dataset),
                valid=None,
                tasks=EpochTasks(self, None),
            )
            net.train(dataset, self.max_epochs)
        self.history_ = net.epochs()
        return self

    def decision_function(self, X):
        """Return the scores of the classes, shape (n_samples, n_classes)."""
        check_is_fitted(self, "fitted_")
        rows = _inputs.check_input(self, X, self.fitted_.layout)
        return self.fitted_.map(self._score, rows)

    def _score(self, images):
        with self.fitted_.machine.autocast():
            return self.fitted_.network(images)

    def predict(self, X):
        """Return the class of the highest score, or an indicator of positive ones."""
        scores = torch.from_numpy(self.decision_function(X)).sigmoid()
        labels = self.fitted_.labels
        return labels.to_labels(labels.decide(scores).numpy())


def count_parameters(module):
    """Return the number of trained values."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
