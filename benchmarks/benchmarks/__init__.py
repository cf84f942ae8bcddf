"""fastgd's performance suite for airspeed velocity (asv).

asv holds whatever grows for a regression, so everything here is better the smaller it is: times over a peer's or over
the floor, not their inverse; the share of test rows that are taken for something else, not of those that are not.
"""

import os
import sys
from pathlib import Path

# asv finds this package by other means than the path. The scripts that measure peers and the floor lie beside it.
_SCRIPTS = str(Path(__file__).resolve().parent.parent)
if _SCRIPTS not in sys.path:
    sys.path.append(_SCRIPTS)

from environment import THREAD_VARIABLES  # noqa: E402

# One thread unless a benchmark says otherwise. BLAS libraries read this when NumPy is imported, later on.
for _name in THREAD_VARIABLES:
    os.environ.setdefault(_name, "1")
