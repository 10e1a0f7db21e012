"""Stop training where a wanted accuracy is reached, so that networks compare fairly."""

from skorch.callbacks import Callback


class StopAtAccuracy(Callback):
    """End training as soon as this accuracy is found on held-out images.

    Parameters
    ----------
    accuracy : float
        What is wanted.
    X, y : ndarray
        Held-out training images, never test images.
    n_between : int
        Training images between two scores, counted to the next whole batch.

    Attributes
    ----------
    found : list of float
        All scores.
    n_seen : int
        Images trained on so far, each as often as it was.
    """

    def __init__(self, accuracy, X, y, n_between):
        self.accuracy = accuracy
        self.X = X
        self.y = y
        self.n_between = n_between
        self.classifier = None
        self.found = []
        self.n_seen = 0

    @property
    def is_reached(self):
        """Return whether the last score reached it."""
        return bool(self.found) and self.found[-1] >= self.accuracy

    def on_batch_end(self, net, batch, **kwargs):
        """Score the held-out images; the next training step goes back to training."""
        before = self.n_seen // self.n_between
        self.n_seen += len(batch.images)
        if self.n_seen // self.n_between == before:
            return
        self.score(net)
        net.stop_training |= self.is_reached

    def on_train_end(self, net, **kwargs):
        """Score what training ended with."""
        if not self.is_reached:
            self.score(net)

    def score(self, net):
        """Note the accuracy on the held-out images."""
        net.module_.eval()
        self.found.append(self.classifier.score(self.X, self.y))
