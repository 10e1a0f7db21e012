"""Pictures of what capsules hold, as scikit-learn displays."""

from skcaps.inspection._pose_sweep import PoseSweepDisplay
from skcaps.inspection._reconstruction import ReconstructionDisplay
from skcaps.inspection._segmentation import SegmentationDisplay

__all__ = ["PoseSweepDisplay", "ReconstructionDisplay", "SegmentationDisplay"]
