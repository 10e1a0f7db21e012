"""What an experiment is: some networks, trained and tested in one way."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cell:
    """One network of an experiment.

    Attributes
    ----------
    name : str
        In the results.
    title : str
        In the table.
    network : str
        A key of `reproduction.networks.NETWORKS`.
    parameters : dict
        Of the classifier.
    published : str
        The number in the paper.
    n_each : int or None
        Training images of each class, where they are drawn.
    profiles : tuple of str
        Where the cell is measured.
    """

    name: str
    title: str
    network: str
    parameters: dict = field(default_factory=dict)
    published: str = "none"
    n_each: int | None = None
    profiles: tuple = ("small", "paper", "tiny")


@dataclass(frozen=True)
class Experiment:
    """One table.

    Attributes
    ----------
    title : str
    protocol : str
        A key of `reproduction.protocols.PROTOCOLS`.
    source : str
        The images, see `reproduction.data`.
    columns : dict
        The metrics of the table and their headings.
    cells : tuple of Cell
    profiles : dict of Profile
    sources : tuple of str
        Where the published numbers are.
    note : str
        What a reader has to know besides.
    chart : str
        A key of `reproduction.charts.CHARTS`.
    """

    title: str
    protocol: str
    source: str
    columns: dict
    cells: tuple
    profiles: dict
    sources: tuple = ()
    note: str = ""
    chart: str = "dots"

    def cells_of(self, profile):
        """Return the cells of a profile."""
        return [cell for cell in self.cells if profile in cell.profiles]
