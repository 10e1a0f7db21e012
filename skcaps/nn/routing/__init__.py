"""Routings with their own parameters: one thin module for each function."""

from skcaps.nn.routing._activation import ActivationRouting
from skcaps.nn.routing._dynamic import DynamicRouting
from skcaps.nn.routing._em import EMRouting
from skcaps.nn.routing._inverted_attention import InvertedAttentionRouting
from skcaps.nn.routing._leaky_dynamic import LeakyDynamicRouting
from skcaps.nn.routing._learned import LearnedRouting
from skcaps.nn.routing._routing import Routing
from skcaps.nn.routing._self import SelfRouting
from skcaps.nn.routing._self_attention import SelfAttentionRouting
from skcaps.nn.routing._uniform import UniformRouting
from skcaps.nn.routing._variational_bayes import VariationalBayesRouting

# By a mixture of Gaussians; coordinates may be added to the votes.
MIXTURES: dict[str, type[EMRouting] | type[VariationalBayesRouting]] = {
    "em": EMRouting,
    "vb": VariationalBayesRouting,
}
ROUTINGS: dict[str, type[Routing]] = {
    "dynamic": DynamicRouting,
    "leaky_dynamic": LeakyDynamicRouting,
    "self_attention": SelfAttentionRouting,
    **MIXTURES,
    "self": SelfRouting,
    "inverted_attention": InvertedAttentionRouting,
    "uniform": UniformRouting,
    "learned": LearnedRouting,
}

__all__ = [
    "MIXTURES",
    "ROUTINGS",
    "ActivationRouting",
    "DynamicRouting",
    "EMRouting",
    "InvertedAttentionRouting",
    "LeakyDynamicRouting",
    "LearnedRouting",
    "Routing",
    "SelfAttentionRouting",
    "SelfRouting",
    "UniformRouting",
    "VariationalBayesRouting",
]
