"""scikit-learn's callback API, where the installed version has one."""

from __future__ import annotations

from contextlib import contextmanager

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stand-in without `set_callbacks`."""

    def with_callbacks(method):
        """Leave a method as it is."""
        return method


__all__ = ["CallbackSupportMixin", "EpochTasks", "fit_task", "with_callbacks"]


@contextmanager
def fit_task(estimator, max_epochs):
    """Report a fit to the estimator's scikit-learn callbacks.

    Yields
    ------
    context : sklearn.callback.CallbackContext or None
        To be handed to `EpochTasks`.
    """
    if not hasattr(estimator, "_init_callback_context"):
        yield None
        return
    context = estimator._init_callback_context(max_subtasks=max_epochs)
    context.call_on_fit_task_begin(estimator=estimator)
    yield context
    context.call_on_fit_task_end(estimator=estimator)


class EpochTasks:
    """Report epochs of one fit; `end` says whether a callback wants to stop."""

    def __init__(self, estimator, context):
        self.estimator = estimator
        self.context = context
        self.task = None

    def begin(self):
        """Open the next epoch's task."""
        if self.context is not None:
            self.task = self.context.subcontext(task_name="epoch")
            self.task.call_on_fit_task_begin(estimator=self.estimator)

    def end(self) -> bool:
        """Close the epoch's task, if one is open."""
        if self.task is None:
            return False
        task, self.task = self.task, None
        return bool(task.call_on_fit_task_end(estimator=self.estimator))
