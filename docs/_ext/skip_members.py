"""Leave methods out of the pages whose docstrings are scikit-learn's own."""

import re

# They refer to labels of scikit-learn's documentation, which are not known here.
FOREIGN = re.compile(r"set_\w+_request|get_metadata_routing|set_output")


def skip_foreign(app, what, name, obj, skip, options):
    return True if FOREIGN.fullmatch(name) else None


def setup(app):
    app.connect("autodoc-skip-member", skip_foreign)
    return {"parallel_read_safe": True, "version": "1"}
