"""Routings: how child capsules are combined into parents, one file each."""

from skcaps.functional.routing._convolution import (
    em_convolution,
    variational_bayes_convolution,
)
from skcaps.functional.routing._dynamic import dynamic_routing
from skcaps.functional.routing._em import em_from_votes, em_routing
from skcaps.functional.routing._inverted_attention import (
    inverted_attention_from_votes,
    inverted_attention_routing,
)
from skcaps.functional.routing._learned import learned_routing
from skcaps.functional.routing._locally_constrained import (
    conv_capsules,
    conv_transpose_capsules,
    locally_constrained_from_votes,
)
from skcaps.functional.routing._routed import Routed
from skcaps.functional.routing._self import self_from_votes, self_routing
from skcaps.functional.routing._self_attention import self_attention_routing
from skcaps.functional.routing._uniform import uniform_routing
from skcaps.functional.routing._variational_bayes import (
    variational_bayes_from_votes,
    variational_bayes_routing,
)
from skcaps.functional.routing._windows import Windows

__all__ = [
    "Routed",
    "Windows",
    "conv_capsules",
    "conv_transpose_capsules",
    "dynamic_routing",
    "em_convolution",
    "em_from_votes",
    "em_routing",
    "inverted_attention_from_votes",
    "inverted_attention_routing",
    "learned_routing",
    "locally_constrained_from_votes",
    "self_attention_routing",
    "self_from_votes",
    "self_routing",
    "uniform_routing",
    "variational_bayes_convolution",
    "variational_bayes_from_votes",
    "variational_bayes_routing",
]
