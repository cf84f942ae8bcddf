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
toc_object_entries = False
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
# Exempt: what is called like its formula, or made by a decorator or by fastgd and not by a user.
numpydoc_validation_exclude = {
    r"fastgd\.(activations|losses|initializers|metrics)\.",
    r"\._formula\.",
    r"\.(DivergenceError|Progress|Diagnosis|LayerDiagnosis)$",
}

html_theme = "alabaster"
html_theme_options = {
    "body_max_width": "auto",
    "description": "Gradient descent on the CPU, compiled and fused",
    "fixed_sidebar": True,
    "page_width": "1240px",
    "show_powered_by": False,
}
html_static_path = ["_static"]
html_css_files = ["entries.css"]
html_copy_source = False
html_show_sourcelink = False
