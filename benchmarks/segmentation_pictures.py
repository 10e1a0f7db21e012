"""What segmenters found on a few test images."""

import io

import numpy as np
from files import write_whole
from matplotlib.figure import Figure

N_SHOWN = 3
# Pixels of a side that are shown.
SIDE = 128
# Where two digits are.
WHITE = (255, 255, 255)
COLOURS = ((230, 97, 90), (90, 160, 230))


def keep_maps(path, segmenter, images):
    """Write the first images, what they show and the lengths found, in 8 bits."""
    X = images.X[:N_SHOWN]
    lengths = np.round(255 * segmenter.lengths(X)).astype(np.uint8)
    arrays = {
        name: values[:, :SIDE, :SIDE]
        for name, values in (
            ("images", X),
            ("masks", images.y[:N_SHOWN].astype(np.int8)),
            ("lengths", lengths),
        )
    }
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    write_whole(path, file.getvalue())


def colour_masks(masks):
    """Return a colour for each label of masks: white where it is not known."""
    return _colour(masks[..., None] == np.arange(len(COLOURS)), masks == -1)


def colour_lengths(lengths):
    """Return the colour of the longest class, white where two are above 0.5."""
    is_longest = np.arange(lengths.shape[-1]) == lengths.argmax(axis=-1)[..., None]
    said = lengths > 127
    return _colour(is_longest & said, said.sum(axis=-1) > 1)


def _colour(of_class, is_white):
    colours = np.array(COLOURS)[: of_class.shape[-1]]
    found = (of_class[..., None] * colours).sum(axis=-2)
    return np.where(is_white[..., None], WHITE, found).astype(np.uint8)


def draw_digits(maps):
    """Draw pairs, their digits, and the digits that each network found."""
    return _draw(maps, colour_masks, colour_lengths)


def draw_membranes(maps):
    """Draw slices, their membranes, and the lengths that each network found."""
    return _draw(
        maps, lambda masks: np.where(masks, 255, 0), lambda lengths: lengths[..., 0]
    )


def _draw(maps, show_masks, show_lengths):
    """Return a row for each image and a column for each network, as a PNG file."""
    any_maps = next(iter(maps.values()))
    columns = {
        "image": any_maps["images"],
        "truth": show_masks(any_maps["masks"]),
        **{name: show_lengths(kept["lengths"]) for name, kept in maps.items()},
    }
    n_rows = len(any_maps["images"])
    figure = Figure(figsize=(1.7 * len(columns), 1.75 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, len(columns), squeeze=False)
    for column, (title, shown) in zip(panels.T, columns.items(), strict=True):
        column[0].set_title(title, fontsize=10)
        for ax, one in zip(column, shown, strict=True):
            ax.imshow(one, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            ax.set_axis_off()
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=80, metadata={"Software": None})
    return file.getvalue()
