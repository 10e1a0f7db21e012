"""The experiments: what is trained on what, and what is published of it."""

from reproduction.experiment import Cell, Experiment
from reproduction.profiles import (
    FAST_NETWORKS,
    LARGE_BATCHES,
    NARROW_NETWORKS,
    NARROW_NOTE,
    paper,
    small,
    tiny,
)

SABOUR = "Sabour, Frosst, Hinton (2017), arXiv:1710.09829"
MAZZIA = "Mazzia, Salvetti, Chiaberge (2021), Scientific Reports 11, 14634"

ERROR = {"test_error": "test error %", "validation_error": "held-out error %"}
PAIR_ERRORS = {
    "test_set_error": "error %, both digits right",
    "test_partial_error": "error %, partial credit",
    "validation_set_error": "held-out error %, both digits right",
}
AFFINE_ERRORS = {
    "affine_error": "affine error %",
    "clean_error": "clean error %",
    "validation_error": "held-out error %",
    "epochs": "epochs",
    "reached": "seeds at the wanted accuracy",
}
ROUTE = {**ERROR, "coupling_entropy": "coupling entropy"}
ANOMALY = {
    "auc_reconstruction": "ROC AUC, reconstruction",
    "auc_length": "ROC AUC, longest capsule",
    "test_error": "MNIST test error %",
}


def _capsnet_cells():
    published = {(1, None): "0.34", (1, "dense"): "0.29", (3, None): "0.35"}
    return tuple(
        Cell(
            f"r{iterations}-{'recon' if decoder else 'plain'}",
            f"CapsNet, {iterations} iteration{'s' * (iterations > 1)}, "
            f"{'with' if decoder else 'no'} reconstruction",
            "capsnet",
            {
                "routing_iterations": iterations,
                "decoder": decoder,
                "augmentation": "shift",
            },
            published.get((iterations, decoder), "0.25"),
        )
        for iterations in (1, 3)
        for decoder in (None, "dense")
    )


def _label_cells():
    networks = {
        "capsnet": ("CapsNet", ("paper",)),
        "efficient": ("Efficient-CapsNet", ("small", "paper", "tiny")),
        "cnn-small": ("CNN, 161K", ("small", "paper", "tiny")),
        "cnn-large": ("CNN, 6.8M", ("paper",)),
    }
    return tuple(
        Cell(
            f"{network}-{n_each}",
            f"{title}, {n_each} labels a class",
            network,
            {"augmentation": "shift"},
            n_each=n_each,
            profiles=profiles,
        )
        for n_each in LABELS
        for network, (title, profiles) in networks.items()
    )


# Labels of each class, and for how many epochs they are trained on two cores.
LABELS = {10: 100, 30: 60, 100: 30, 300: 12, 1000: 5}


def _label_epochs(factor):
    cells = _label_cells()
    return {cell.name: factor * LABELS[cell.n_each] for cell in cells}


def _routing_cells():
    cells = [
        Cell("uniform", "uniform, which is dynamic with 1 iteration", "capsnet",
             {"routing": "uniform"}),
        *[
            Cell(f"dynamic-{n}", f"dynamic, {n} iterations", "capsnet",
                 {"routing_iterations": n})
            for n in (2, 3, 5)
        ],
        Cell("self_attention", "self-attention", "capsnet",
             {"routing": "self_attention"}),
        Cell("learned", "learned, the same for all images", "capsnet",
             {"routing": "learned"}),
        Cell("random", "random, never trained", "capsnet-random"),
    ]  # fmt: skip
    return tuple(cells)


def _routing(title, source, n_train):
    return Experiment(
        title,
        "route",
        source,
        ROUTE,
        _routing_cells(),
        {
            "small": small(
                4, n_train=n_train, parameters=NARROW_NETWORKS, note=NARROW_NOTE
            ),
            "paper": paper(50, n_train=10_000),
            "tiny": tiny(),
        },
        sources=(
            "Paik, Kwak, Kim (2019), arXiv:1907.13327, and Gu, Tresp (2020), "
            "arXiv:1911.07968, find that routing does not help; they use other "
            "networks and data",
        ),
        note=(
            "A coupling entropy of 1 means that the routing decides nothing, 0 that "
            "each capsule has chosen one class. Random couplings are the softmax of "
            "standard normal numbers."
        ),
    )


EFFICIENT = Cell(
    "efficient", "Efficient-CapsNet", "efficient", {"augmentation": "efficient"}, "0.26"
)

# Where one network as small as Efficient-CapsNet learns a whole training set.
SMALL_NETWORKS = {
    "small": small(8, n_train=58_000, parameters=LARGE_BATCHES),
    "paper": paper(150),
    "tiny": tiny(),
}

EXPERIMENTS = {
    "mnist-capsnet": Experiment(
        "MNIST, CapsNet: routing and reconstruction",
        "classify",
        "mnist",
        ERROR,
        _capsnet_cells(),
        {
            "small": small(
                6, n_train=10_000, parameters=NARROW_NETWORKS, note=NARROW_NOTE
            ),
            # 300,000 steps of 128 images.
            "paper": paper(698),
            "tiny": tiny(),
        },
        sources=(f"{SABOUR}, table 1",),
    ),
    "mnist-efficient": Experiment(
        "MNIST, Efficient-CapsNet",
        "classify",
        "mnist",
        ERROR,
        (EFFICIENT,),
        SMALL_NETWORKS,
        sources=(f"{MAZZIA}, table 2, the mean of single networks",),
    ),
    "mnist-cnn": Experiment(
        "MNIST, a CNN of Efficient-CapsNet's size",
        "classify",
        "mnist",
        ERROR,
        (
            Cell(
                "cnn-small",
                "CNN, 161K",
                "cnn-small",
                {"augmentation": "efficient"},
                "0.48 (another CNN, 173K)",
            ),
        ),
        SMALL_NETWORKS,
        sources=(f"{MAZZIA}, table 2, their own CNN without reconstruction",),
    ),
    "mnist-cnn-large": Experiment(
        "MNIST, CNNs of CapsNet's class",
        "classify",
        "mnist",
        ERROR,
        (
            Cell(
                "cnn-large",
                "CNN of CapsNet's layers",
                "cnn-large",
                {"augmentation": "shift"},
            ),
            Cell(
                "cnn-paper",
                "CNN of the paper, 35.4M",
                "cnn-paper",
                {"augmentation": "shift"},
                "0.39",
                profiles=("paper",),
            ),
        ),
        {
            "small": small(
                6, n_train=10_000, parameters=NARROW_NETWORKS, note=NARROW_NOTE
            ),
            "paper": paper(698),
            "tiny": tiny(),
        },
        sources=(f"{SABOUR}, table 1",),
    ),
    "multimnist": Experiment(
        "MultiMNIST",
        "separate_digits",
        "mnist",
        PAIR_ERRORS,
        (
            Cell("capsnet", "CapsNet", "capsnet", published="5.2 (both right)"),
            Cell(
                "efficient",
                "Efficient-CapsNet",
                "efficient",
                published="5.1 (partial credit)",
            ),
            Cell("cnn-small", "CNN, 155K", "cnn-small"),
        ),
        {
            "small": small(
                1,
                n_train=58_000,
                n_pairs=70_000,
                parameters=FAST_NETWORKS,
                note=NARROW_NOTE,
            ),
            # 60 M pairs in all; the papers never show one twice.
            "paper": paper(
                100,
                n_pairs=600_000,
                n_test_pairs=10_000_000,
                # Half of the weight for each of the two digits' mean errors.
                efficient={"reconstruction_weight": 0.196 / 36**2},
            ),
            "tiny": tiny(n_pairs=40, n_test_pairs=20),
        },
        sources=(f"{SABOUR}, section 6", f"{MAZZIA}"),
        note=(
            "The two longest capsules are the answer. Both right is the error of "
            "Sabour et al.; the code of Mazzia et al. gives half a point for one "
            "digit of two, so that their two published numbers cannot be compared. "
            "Digits are shifted by up to 4 pixels, as the paper of Sabour et al. says; "
            "both papers' code shifts by up to 6."
        ),
    ),
    "affnist": Experiment(
        "affNIST: trained on shifted digits, tested on affine ones",
        "stand_affine_maps",
        "affnist",
        AFFINE_ERRORS,
        (
            Cell("capsnet", "CapsNet", "capsnet", published="21"),
            Cell("efficient", "Efficient-CapsNet", "efficient"),
            Cell("cnn-small", "CNN, 161K", "cnn-small"),
            Cell("cnn-large", "CNN, 6.8M", "cnn-large", profiles=("paper",)),
            Cell(
                "cnn-paper",
                "CNN of the paper",
                "cnn-paper",
                published="34",
                profiles=("paper",),
            ),
        ),
        {
            "small": small(
                1,
                n_train=58_000,
                wanted_accuracy=0.97,
                n_between_scores=2000,
                parameters=FAST_NETWORKS,
                note=f"{NARROW_NOTE} Training stops at 97 % on held-out images.",
            ),
            "paper": paper(
                200,
                n_affine_versions=32,
                wanted_accuracy=0.9922,
                note="Training stops at 99.22 % on held-out images.",
            ),
            "tiny": tiny(wanted_accuracy=0.975),
        },
        sources=(f"{SABOUR}, section 5.2: 79 and 66 % accuracy on affNIST",),
        note=(
            "The networks are compared where they are equally good on shifted digits. "
            "Generated images are not affNIST: numbers on them do not compare with "
            "published ones."
        ),
    ),
    "few-labels": Experiment(
        "MNIST with few labels",
        "classify",
        "mnist",
        ERROR,
        _label_cells(),
        {
            "small": small(1, epochs=_label_epochs(1)),
            "paper": paper(1, epochs=_label_epochs(10)),
            "tiny": tiny(),
        },
        sources=("capsules are said to need fewer labels; no number is published",),
        chart="learning_curves",
    ),
    "routing-mnist": _routing("Does routing help? MNIST-10k", "mnist", 10_000),
    "routing-fashion": _routing(
        "Does routing help? Fashion-MNIST-10k", "fashion", 10_000
    ),
    "routing-affnist": _routing("Does routing help? affNIST-like", "affnist", 8000),
    "smallnorb": Experiment(
        "smallNORB",
        "classify",
        "smallnorb",
        ERROR,
        (
            Cell(
                "capsnet",
                "CapsNet",
                "capsnet",
                {"augmentation": "crop_jitter"},
                "2.7",
            ),
            Cell(
                "efficient",
                "Efficient-CapsNet",
                "efficient",
                {"augmentation": "crop_jitter"},
                "2.54",
            ),
        ),
        {
            "small": small(
                5,
                is_sample=True,
                note=(
                    "Six pairs, to see that everything runs: these errors say nothing "
                    "of the networks, and do not compare with published ones."
                ),
            ),
            "paper": paper(150, n_train=19_440, efficient={"decoder": "conv"}),
            "tiny": tiny(is_sample=True),
        },
        sources=(f"{SABOUR}, section 7", f"{MAZZIA}, table 4"),
    ),
    "fashion-efficient": Experiment(
        "Fashion-MNIST, Efficient-CapsNet",
        "classify",
        "fashion",
        ERROR,
        (
            Cell(
                "efficient", "Efficient-CapsNet", "efficient", {"augmentation": "shift"}
            ),
        ),
        SMALL_NETWORKS,
        sources=("no number of Efficient-CapsNet on Fashion-MNIST is published",),
    ),
    "anomaly": Experiment(
        "Anomalies: trained on MNIST, Fashion-MNIST is strange",
        "find_anomalies",
        "mnist",
        ANOMALY,
        (
            Cell("capsnet", "CapsNet", "capsnet"),
            Cell("efficient", "Efficient-CapsNet", "efficient"),
        ),
        {
            "small": small(
                3, n_train=20_000, parameters=NARROW_NETWORKS, note=NARROW_NOTE
            ),
            "paper": paper(50),
            "tiny": tiny(),
        },
        note=(
            "The reconstruction error is that of the predicted class; the other score "
            "is how short the longest capsule is."
        ),
    ),
}
