"""Routings: how child capsules are combined into parents, one file each."""

from skcaps.functional.routing._dynamic import dynamic_routing
from skcaps.functional.routing._learned import learned_routing
from skcaps.functional.routing._routed import Routed
from skcaps.functional.routing._self_attention import self_attention_routing
from skcaps.functional.routing._uniform import uniform_routing

__all__ = [
    "Routed",
    "dynamic_routing",
    "learned_routing",
    "self_attention_routing",
    "uniform_routing",
]
