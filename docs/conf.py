"""How Sphinx builds the documentation; ``make docs`` runs it, and every warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))

import fastgd  # noqa: E402

project = "fastgd"
author = "The fastgd developers"
copyright = author
version = release = fastgd.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.viewcode", "numpydoc", "myst_parser", "public_names"]
# These two pages repeat a file of the folder above, where there is one.
repeated = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
exclude_patterns = ["_build", *(page for page, file in repeated.items() if not (HERE.parent / file).exists())]
toc_object_entries_show_parents = "hide"
myst_heading_anchors = 3

# `name` in a docstring: a link where it is the name of something documented, otherwise just set apart.
default_role = "py:obj"
smartquotes = False
# Docstrings say the types.
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
# A method that only overrides another is described where it was first declared.
autodoc_inherit_docstrings = False
numpydoc_show_class_members = False
# A docstring is there, and its parameters are those of the signature, in that order.
numpydoc_validation_checks = {"GL08", "PR01", "PR02", "PR03"}
# Exempt: what is called like its formula, or made by a decorator or by fastgd and not by a user; and optimizers,
# most of whose arguments are described once, by their base class. There the tests look whether all are.
numpydoc_validation_exclude = {
    r"fastgd\.(activations|losses|initializers)\.",
    r"\._formula\.",
    r"\.(DivergenceError|CheckedArray|GradientCheck)$",
    rf"^fastgd\.({'|'.join(fastgd.optimizers.__all__)})$",
}

html_theme = "pydata_sphinx_theme"
html_theme_options = {
    "navigation_with_keys": False,
    # Entries of a page are to be seen beside it, the members of classes below the one that is looked at.
    "show_toc_level": 2,
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_title = f"fastgd {version}"
html_static_path = ["_static"]
html_css_files = ["entries.css"]
html_copy_source = False
html_show_sourcelink = False
