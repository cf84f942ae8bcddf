"""Sphinx extension: public names and registries are documented by existing, and a build without one of them fails.

``.. public-names:: module``
    An entry for each public name of a module. What `fastgd` itself exports has its entry under that shorter name.
``.. name-overview:: module``
    A table of the same names with the first lines of their docstrings.
``.. registry-table:: table``
    A table of `registry_tables`.
``.. drawing:: name``
    The picture of something registered, from `drawings`; whatever has one has it in its entry.
``.. existing-toctree::``
    A table of contents by patterns, of which some may fit no page.
"""

from __future__ import annotations

import ast
import base64
import html
import importlib
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import drawings
import registry_tables
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.directives.other import TocTree
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.matching import patfilter

import fastgd
from fastgd._formula import Activation, Formula, Loss
from fastgd.initializers import Initializer

logger = logging.getLogger(__name__)


def public_names(module: ModuleType) -> list[str]:
    """What a module exports; without ``__all__``, what `fastgd` exports of it."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [name for name in fastgd.__all__ if getattr(getattr(fastgd, name), "__module__", "") == module.__name__]


def shortest(module: ModuleType, name: str) -> str:
    """Full name of something public: of `fastgd` itself if that exports it."""
    exported = name in fastgd.__all__ and getattr(fastgd, name) is getattr(module, name)
    return f"{'fastgd' if exported else module.__name__}.{name}"


def entry(full_name: str, documented: Any) -> list[str]:
    """Lines of reStructuredText that document an object, its picture at the end; none for what the page describes."""
    lines = description(full_name, documented)
    if lines and drawings.drawer_of(documented) is not None:
        lines += [f"   .. drawing:: {full_name}", ""]
    return lines


def description(full_name: str, documented: Any) -> list[str]:
    """The same without the picture."""
    if inspect.isclass(documented):
        kind = "autoexception" if issubclass(documented, BaseException) else "autoclass"
        return [f".. {kind}:: {full_name}", "   :members:", ""]
    if inspect.isfunction(documented):
        return [f".. autofunction:: {full_name}", ""]
    if isinstance(documented, (Activation, Loss)) and documented.formula is not None:
        code = [f"      {line}" for line in source_of(documented).splitlines()]
        header = [f".. autofunction:: {full_name}({arguments(documented)})", ""]
        return [*header, "   .. rubric:: Formula", "", "   .. code-block:: python", "", *code, ""]
    if isinstance(documented, (Loss, Initializer)):
        return [f".. autodata:: {full_name}", "   :no-value:", ""]
    return []


def arguments(declared: Activation | Loss) -> str:
    """Arguments of a declared formula."""
    assert declared.formula is not None
    scalars = [f"{name}={value!r}" for name, value in declared.parameters.items()]
    return ", ".join([*declared.formula.arrays, *(["*", *scalars] if scalars else [])])


def source_of(declared: Activation | Loss) -> str:
    """Python text of a formula and its derivative, without decorators and docstrings."""
    return "\n\n".join(without_trimmings(formula) for formula in (declared.formula, declared.derivative_formula))


def without_trimmings(formula: Formula | None) -> str:
    """A formula as a bare function, under its own name."""
    assert formula is not None
    function = ast.parse(textwrap.dedent(formula.source)).body[0]
    assert isinstance(function, ast.FunctionDef)
    function.name, function.decorator_list = formula.name, []
    if ast.get_docstring(function) is not None:
        del function.body[0]
    return ast.unparse(function)


def undocumented(full_name: str, documented: Any) -> Iterator[str]:
    """Full names of an object and its public methods and properties, as far as they have no docstring."""
    if not inspect.getdoc(documented):
        yield full_name
    for name, member in vars(documented).items() if inspect.isclass(documented) else ():
        described = inspect.isroutine(member) or isinstance(member, (property, classmethod, staticmethod))
        if described and not name.startswith("_") and not inspect.getdoc(getattr(documented, name)):
            yield f"{full_name}.{name}"


def list_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table, its cells being reStructuredText of one line."""
    lines = [".. list-table::", "   :header-rows: 1", "   :align: left", ""]
    for first, *others in [columns, *rows]:
        lines += [f"   * - {first}", *(f"     - {cell}" for cell in others)]
    return [*lines, ""]


class Generated(SphinxDirective):
    """A directive with one argument that stands for reStructuredText."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        lines = self.lines(self.arguments[0])
        return self.parse_text_to_nodes("\n".join(lines))

    def lines(self, argument: str) -> list[str]:
        """The text."""
        raise NotImplementedError

    def imported(self, name: str) -> ModuleType:
        """A module, on whose file the page depends from now on."""
        module = importlib.import_module(name)
        self.env.note_dependency(inspect.getfile(module))
        return module


class PublicNames(Generated):
    """Entries of a module's public names."""

    def lines(self, argument: str) -> list[str]:
        module = self.imported(argument)
        lines = []
        # As in the source, where what is built upon stands first.
        for name in sorted(public_names(module), key=list(vars(module)).index):
            full_name, documented = shortest(module, name), getattr(module, name)
            described = entry(full_name, documented)
            lines += described
            for missing in undocumented(full_name, documented) if described else ():
                logger.warning("%s has no docstring", missing, location=self.get_location())
        return lines


class NameOverview(Generated):
    """A table of a module's public names."""

    def lines(self, argument: str) -> list[str]:
        module = self.imported(argument)
        rows = []
        for name in public_names(module):
            documented = getattr(module, name)
            # A plain value's docstring is about its type.
            if not isinstance(documented, str):
                rows.append((f":py:obj:`{name} <{shortest(module, name)}>`", registry_tables.summary(documented)))
        return list_table(("Name", "Meaning"), rows)


class RegistryTable(Generated):
    """A table of `registry_tables`."""

    def lines(self, argument: str) -> list[str]:
        if argument not in registry_tables.TABLES:
            raise self.error(f"no table {argument!r}; there are {', '.join(registry_tables.TABLES)}")
        self.imported("registry_tables")
        table = registry_tables.TABLES[argument]()
        rows = []
        for name, cells in table.rows.items():
            first = f":py:obj:`{name} <{table.module}.{name}>`" if table.module else f"``{name}``"
            rows.append((first, *cells))
        return list_table(table.columns, rows)


class DrawingOf(SphinxDirective):
    """The picture of something registered, within the page: a title says with which arguments."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        module, _, name = self.arguments[0].rpartition(".")
        documented = getattr(importlib.import_module(module), name)
        draw = drawings.drawer_of(documented)
        if draw is None:
            raise self.error(f"{self.arguments[0]} has no picture")
        self.env.note_dependency(inspect.getfile(drawings))
        drawing = draw(documented)
        picture = base64.b64encode(drawings.svg(drawing).encode()).decode()
        title = html.escape(drawing.title)
        image = f'<img src="data:image/svg+xml;base64,{picture}" alt="Curve of {title}" width="400">'
        return [nodes.raw("", f"<figure>{image}<figcaption><code>{title}</code></figcaption></figure>", format="html")]


class ExistingToctree(TocTree):
    """A glob toctree in which a pattern without pages is no mistake."""

    def run(self) -> list[nodes.Node]:
        self.options["glob"] = None
        self.content = StringList([line for line in self.content if any(patfilter(self.env.found_docs, line))])
        return super().run()


def check_public_names(app: Sphinx, environment: BuildEnvironment) -> None:
    """Warn of public names without an entry: those of `fastgd`, and of the modules that have a page."""
    entries = environment.domains["py"].data["objects"]
    modules = [name for name, found in entries.items() if found.objtype == "module"]
    for module in map(importlib.import_module, {"fastgd", *modules}):
        for name in public_names(module):
            full_name = shortest(module, name)
            if full_name not in entries:
                logger.warning("%s is public and has no entry in the documentation", full_name)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("public-names", PublicNames)
    app.add_directive("name-overview", NameOverview)
    app.add_directive("registry-table", RegistryTable)
    app.add_directive("drawing", DrawingOf)
    app.add_directive("existing-toctree", ExistingToctree)
    app.connect("env-check-consistency", check_public_names)
    return {"version": fastgd.__version__, "parallel_read_safe": True, "parallel_write_safe": True}
