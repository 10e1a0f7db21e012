import pytest
from reproduction.networks import NETWORKS


@pytest.mark.parametrize(
    "name", ["batch_size", "learning_rate", "learning_rate_decay", "precision"]
)
@pytest.mark.parametrize(
    ("cnn", "capsules"),
    [
        ("cnn-small", "efficient"),
        ("cnn-large", "capsnet"),
        ("cnn-paper", "capsnet"),
    ],
)
def test_a_cnn_is_trained_like_the_capsules_it_is_compared_with(cnn, capsules, name):
    trained, compared = (NETWORKS[key]().get_params()[name] for key in (cnn, capsules))
    assert trained == compared
