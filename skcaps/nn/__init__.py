"""Modules: parameters, and one call down to `skcaps.functional`."""

from skcaps.nn._calibration import calibrate
from skcaps.nn._capsule_convolution import CapsuleConv2d, ClassCapsules2d
from skcaps.nn._capsules import CapsuleLayer
from skcaps.nn._decoders import DECODERS, ConvDecoder, DenseDecoder, decoded_shape
from skcaps.nn._geometry import (
    ConvGeometry,
    capsnet_geometry,
    efficient_capsnet_geometry,
    matrix_capsnet_geometry,
    matrix_primary_geometry,
    primary_geometry,
)
from skcaps.nn._initialization import (
    glorot_normal_,
    glorot_uniform_,
    he_normal_,
    truncated_normal_,
)
from skcaps.nn._map_capsules import ConvCapsules, ConvTransposeCapsules
from skcaps.nn._matrix_capsnet import (
    MatrixCapsNetStem,
    MatrixCapsuleNetwork,
    MatrixPrimaryCapsules,
    matrix_capsnet,
)
from skcaps.nn._networks import CapsuleNetwork, capsnet, efficient_capsnet
from skcaps.nn._norm import BatchNorm, InstanceNorm
from skcaps.nn._primary import DepthwisePrimaryCapsules, PrimaryCapsules
from skcaps.nn._published import is_published_efficient
from skcaps.nn._segcaps_trunks import (
    BasicCapsTrunk,
    CapsuleEncoder,
    ConvDecodedTrunk,
    SegCapsTrunk,
)
from skcaps.nn._segmentation import (
    PIXEL_DECODERS,
    SEGCAPS_VARIANTS,
    PixelDecoder,
    SegmentationNetwork,
    segcaps,
)
from skcaps.nn._stems import (
    NORMS,
    CapsNetStem,
    CustomStem,
    EfficientCapsNetStem,
)
from skcaps.nn.routing import (
    MIXTURES,
    ROUTINGS,
    ActivationRouting,
    DynamicRouting,
    EMRouting,
    InvertedAttentionRouting,
    LeakyDynamicRouting,
    LearnedRouting,
    Routing,
    SelfAttentionRouting,
    SelfRouting,
    UniformRouting,
    VariationalBayesRouting,
)

__all__ = [
    "DECODERS",
    "MIXTURES",
    "NORMS",
    "PIXEL_DECODERS",
    "ROUTINGS",
    "SEGCAPS_VARIANTS",
    "ActivationRouting",
    "BasicCapsTrunk",
    "BatchNorm",
    "CapsNetStem",
    "CapsuleConv2d",
    "CapsuleEncoder",
    "CapsuleLayer",
    "CapsuleNetwork",
    "ClassCapsules2d",
    "ConvCapsules",
    "ConvDecodedTrunk",
    "ConvDecoder",
    "ConvGeometry",
    "ConvTransposeCapsules",
    "CustomStem",
    "DenseDecoder",
    "DepthwisePrimaryCapsules",
    "DynamicRouting",
    "EMRouting",
    "EfficientCapsNetStem",
    "InstanceNorm",
    "InvertedAttentionRouting",
    "LeakyDynamicRouting",
    "LearnedRouting",
    "MatrixCapsNetStem",
    "MatrixCapsuleNetwork",
    "MatrixPrimaryCapsules",
    "PixelDecoder",
    "PrimaryCapsules",
    "Routing",
    "SegCapsTrunk",
    "SegmentationNetwork",
    "SelfAttentionRouting",
    "SelfRouting",
    "UniformRouting",
    "VariationalBayesRouting",
    "calibrate",
    "capsnet",
    "capsnet_geometry",
    "decoded_shape",
    "efficient_capsnet",
    "efficient_capsnet_geometry",
    "glorot_normal_",
    "glorot_uniform_",
    "he_normal_",
    "is_published_efficient",
    "matrix_capsnet",
    "matrix_capsnet_geometry",
    "matrix_primary_geometry",
    "primary_geometry",
    "segcaps",
    "truncated_normal_",
]
