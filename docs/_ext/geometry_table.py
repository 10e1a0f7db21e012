"""The directive ``geometry-table``: what a network becomes for each image size."""

from docutils import nodes
from docutils.parsers.rst import Directive

from skcaps.nn import capsnet_geometry, efficient_capsnet_geometry

GEOMETRIES = {"capsnet": capsnet_geometry, "efficient": efficient_capsnet_geometry}
SIZES = [1, 2, 4, 8, 16, 28, 32, 36, 40, 48, 64, 96, 128, 224, 256]


def describe(layer):
    """One convolution, such as "9x9 / 2 -> 6x6"."""
    (kernel, _), (stride, _) = layer.kernel, layer.stride
    rows, columns = layer.output
    step = f" / {stride}" if stride > 1 else ""
    return f"{kernel}x{kernel}{step} \N{RIGHTWARDS ARROW} {rows}x{columns}"


def make_rows(geometry):
    layers = [geometry(size, size) for size in SIZES]
    names = [f"convolution {i + 1}" for i in range(len(layers[0]) - 1)]
    yield ["image", *names, "primary capsules"]
    for size, row in zip(SIZES, layers, strict=True):
        yield [f"{size}x{size}", *map(describe, row)]


def make_row(texts):
    row = nodes.row()
    for text in texts:
        row += nodes.entry("", nodes.paragraph("", text))
    return row


def make_table(rows):
    head, *body = [make_row(texts) for texts in rows]
    group = nodes.tgroup(cols=len(head.children))
    group += [nodes.colspec(colwidth=1) for _ in head.children]
    group += nodes.thead("", head)
    group += nodes.tbody("", *body)
    return nodes.table("", group)


class GeometryTable(Directive):
    """``{geometry-table} NAME``, with a name from `GEOMETRIES`."""

    required_arguments = 1

    def run(self):
        name = self.arguments[0]
        if name not in GEOMETRIES:
            raise self.error(f"expected one of {sorted(GEOMETRIES)}, got {name!r}")
        return [make_table(make_rows(GEOMETRIES[name]))]


def setup(app):
    app.add_directive("geometry-table", GeometryTable)
    return {"parallel_read_safe": True, "version": "1"}
