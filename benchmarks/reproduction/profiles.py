"""How much each experiment trains: as the papers do, or what two cores can.

The small profiles are made for at most 20 minutes on two CPU cores for three seeds,
where CapsNet trains some 170 images of 28x28 a second in bfloat16, the same with a
quarter of its channels some 1,200, and Efficient-CapsNet and the small CNN some 1,100.
"""

from dataclasses import dataclass, field

N_VALIDATION = 5000

# A quarter of the channels of both convolutions: 288 capsules and not 1,152.
NARROW = {"conv_channels": 64, "primary_capsules": 8}
NARROW_NETWORKS = {
    "capsnet": NARROW,
    "capsnet-random": NARROW,
    "cnn-large": {"sizes": {"channels": 64}},
}
# Where each image is seen once, the rates fall to a tenth only, and those of networks
# with batches of 64 start higher. Chosen on held-out pairs of digits.
FAST = {"learning_rate": 4e-3, "learning_rate_decay": 0.1}
FAST_NETWORKS = {
    "capsnet": {**NARROW, "learning_rate_decay": 0.1},
    "efficient": FAST,
    "cnn-small": FAST,
}
# Tried on held-out digits, not compared with other sizes: no faster than batches of 64.
LARGER = {"learning_rate": 4e-3, "batch_size": 128}
LARGE_BATCHES = {"efficient": LARGER, "cnn-small": LARGER}
NARROW_NOTE = (
    "CapsNet has a quarter of the paper's channels, 64, and 288 primary capsules at "
    "28x28: the whole network does not fit in the time."
)


def paper_parameters(n_train):
    """Return the training parameters of the papers.

    CapsNet's rate falls by 0.96 every 2,000 steps of 128 images, Efficient-CapsNet's
    by 0.97 in an epoch; both are smooth here, and without their floors. The CNNs are
    trained as the network that they are compared with. CapsNet's code weighs the sum
    of squared errors at every size of image, Efficient-CapsNet's the mean.
    """
    sabour = {
        "learning_rate": 1e-3,
        "learning_rate_decay": 0.96 ** (n_train / 128 / 2000),
        "batch_size": 128,
    }
    mazzia = {"learning_rate": 5e-4, "learning_rate_decay": 0.97, "batch_size": 16}
    start = {
        "initialization": "paper",
        "learning_rate_warmup": 0,
        "reconstruction_weight": 0.0005,
    }
    return {
        "capsnet": {**sabour, **start},
        "capsnet-random": {**sabour, **start},
        "cnn-large": sabour,
        "cnn-paper": sabour,
        "efficient": mazzia,
        "cnn-small": mazzia,
    }


TINY_NETWORKS = {
    "capsnet": {"conv_channels": 4, "primary_capsules": 2, "batch_size": 16},
    "capsnet-random": {"conv_channels": 4, "primary_capsules": 2, "batch_size": 16},
    "efficient": {"conv_channels": (4, 4, 4, 16), "batch_size": 16},
    "cnn-small": {"sizes": {"channels": (4, 4, 4, 16)}, "batch_size": 16},
    "cnn-large": {"sizes": {"channels": 4, "width": 8}, "batch_size": 16},
}


@dataclass(frozen=True)
class Profile:
    """The sizes of an experiment.

    Attributes
    ----------
    max_epochs : int
        For all cells that `epochs` does not name.
    n_train, n_valid : int
        Images to train on, from the beginning of the training set, and held-out ones,
        from its end.
    n_test : int
        Images of the test set that are read.
    n_affine_versions : int
        Affine maps of each test image.
    n_pairs, n_test_pairs : int
        Pairs of digits to train and test on.
    n_each_max : int
        Most labels of a class, where a cell asks for a number of them.
    wanted_accuracy : float
        At which training on shifted digits stops, on held-out images.
    n_between_scores : int
        Training images between two looks at that accuracy.
    is_sample : bool
        Whether smallNORB is the sample of six pairs.
    precision : str
        The classifiers' parameter.
    parameters : dict
        Of the classifier, for each network.
    epochs : dict
        Epochs for some cells, by their names.
    note : str
        What a reader of the table has to know.
    """

    max_epochs: int
    n_train: int = 60_000 - N_VALIDATION
    n_valid: int = N_VALIDATION
    n_test: int = 10_000
    n_affine_versions: int = 1
    n_pairs: int = 0
    n_test_pairs: int = 10_000
    n_each_max: int = 1000
    wanted_accuracy: float = 1.0
    n_between_scores: int = 60_000 - N_VALIDATION
    is_sample: bool = False
    precision: str = "float32"
    parameters: dict = field(default_factory=dict)
    epochs: dict = field(default_factory=dict)
    note: str = ""

    def epochs_of(self, cell):
        """Return the epochs of a cell."""
        return self.epochs.get(cell.name, self.max_epochs)


def small(max_epochs, **sizes):
    """Make a profile for two CPU cores."""
    sizes = {"n_valid": 2000, "precision": "bfloat16", **sizes}
    return Profile(max_epochs, **sizes)


def paper(max_epochs, *, n_train=60_000 - N_VALIDATION, efficient=None, **sizes):
    """Make a profile for a GPU; `efficient` are that network's own parameters."""
    parameters = paper_parameters(sizes.get("n_pairs") or n_train)
    parameters["efficient"] = {**parameters["efficient"], **(efficient or {})}
    return Profile(max_epochs, n_train=n_train, parameters=parameters, **sizes)


def tiny(**sizes):
    """Make a profile for tests: it finishes in seconds and measures nothing."""
    sizes = {"n_train": 40, "n_valid": 20, "n_test": 20, "n_each_max": 2, **sizes}
    return Profile(1, parameters=TINY_NETWORKS, **sizes)
