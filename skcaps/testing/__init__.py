"""The laws that every routing, squash, loss and decoder obeys, for anyone's own."""

from skcaps.testing._decoder import check_decoder
from skcaps.testing._loss import check_loss
from skcaps.testing._routing import check_routing
from skcaps.testing._squash import check_squash

__all__ = ["check_decoder", "check_loss", "check_routing", "check_squash"]
