"""Pictures of what capsules hold and how they are trained, as scikit-learn displays."""

from skcaps.inspection._coupling import CouplingDisplay
from skcaps.inspection._pose_sweep import PoseSweepDisplay
from skcaps.inspection._reconstruction import ReconstructionDisplay
from skcaps.inspection._segmentation import SegmentationDisplay
from skcaps.inspection._training import TrainingDisplay

__all__ = [
    "CouplingDisplay",
    "PoseSweepDisplay",
    "ReconstructionDisplay",
    "SegmentationDisplay",
    "TrainingDisplay",
]
