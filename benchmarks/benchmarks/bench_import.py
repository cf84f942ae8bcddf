"""How soon fastgd is ready, each time in a fresh interpreter."""

from __future__ import annotations

# Rows, features and classes are the handwritten digits': to load those would take longer than to learn them.
FIT = """
import numpy, fastgd
random = numpy.random.default_rng(0)
X, y = random.random(({n_rows}, {n_features}), numpy.float32), numpy.arange({n_rows}) % {n_classes}
layers = [fastgd.Dense({hidden}, activation="relu"), fastgd.Dense({n_classes})]
model = fastgd.Sequential(layers, loss="softmax_cross_entropy", optimizer="adam")
model.fit(X, y, epochs={epochs}, batch_size=32)
"""

STATEMENTS = {
    "numpy": "import numpy",
    "fastgd": "import fastgd",
    "fastgd and one step": FIT.format(n_rows=32, n_features=4, hidden=16, n_classes=3, epochs=1),
    "fastgd and 10 epochs of digits": FIT.format(n_rows=1797, n_features=64, hidden=64, n_classes=10, epochs=10),
}


class Ready:
    """A statement in a fresh interpreter; the first is the zero line of the others."""

    version = "1"
    params = list(STATEMENTS)
    param_names = ("statement",)
    number = 1  # a second import in the same interpreter is none

    def timeraw_statement(self, statement):
        return STATEMENTS[statement]
