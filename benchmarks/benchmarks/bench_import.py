"""How soon fastgd is ready, each time in a fresh interpreter."""

from __future__ import annotations

STATEMENTS = {
    "numpy": "import numpy",
    "fastgd": "import fastgd",
    "fastgd and a first fit": """
import numpy, fastgd
layers = [fastgd.Dense(16, activation="relu"), fastgd.Dense(3)]
model = fastgd.Sequential(layers, loss="softmax_cross_entropy", optimizer="adam")
model.fit(numpy.zeros((8, 4), numpy.float32), numpy.arange(8) % 3, epochs=1, batch_size=4)
""",
}


class Ready:
    """A statement in a fresh interpreter; the first is the zero line of the others."""

    version = "1"
    params = list(STATEMENTS)
    param_names = ("statement",)

    def timeraw_statement(self, statement):
        return STATEMENTS[statement]
