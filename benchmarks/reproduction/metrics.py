"""What is reported of predictions, in percent where it is an error."""

import numpy as np
from sklearn.metrics import roc_auc_score


def error_percent(y_true, y_predicted):
    """Return the share of wrong labels."""
    return 100 * float(np.mean(np.asarray(y_true) != np.asarray(y_predicted)))


def top_two(scores):
    """Mark the two classes with the highest scores of each row by ones."""
    chosen = np.zeros(np.shape(scores), dtype=np.uint8)
    order = np.argsort(-np.asarray(scores), axis=1, kind="stable")
    np.put_along_axis(chosen, order[:, :2], 1, axis=1)
    return chosen


def set_error_percent(indicator, chosen):
    """Return the share of images whose set of labels is not exactly the chosen one.

    The error that Sabour et al. report.
    """
    return 100 * float(np.mean((np.asarray(indicator) != chosen).any(axis=1)))


def partial_error_percent(indicator, chosen):
    """Return the share of labels not chosen: one right of two counts one half.

    The error that the code of Mazzia et al. reports.
    """
    found = (np.asarray(indicator) * chosen).sum(axis=1)
    return 100 * float(1 - np.mean(found / np.sum(indicator, axis=1)))


def anomaly_auc(familiar, strange):
    """Return the area under the ROC curve of scores that should be high if strange."""
    is_strange = np.repeat([0, 1], [len(familiar), len(strange)])
    return float(roc_auc_score(is_strange, np.concatenate([familiar, strange])))
