"""What may hold any optimizer's rule back: gradients clipped, weights decayed. A formula that comes before the rule's.

Every rule is rendered twice, with this formula before it and without. So who wants neither pays for neither, and there
are two forms of a rule, not one for each combination.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .language import maximum, minimum, read

if TYPE_CHECKING:
    from .language import Formula


def restrain(w, g, *, bound, coupled, decay):  # type: ignore[no-untyped-def]
    """g clipped to [-bound, bound], then coupled w added to it; and w - decay w, what is left of a weight."""
    g = maximum(minimum(g, bound), -bound) + coupled * w
    # Not (1 - decay) w: of a decay as small as 1e-7 nothing would be left in float32.
    return w - decay * w, g


RESTRAIN: Formula = read(restrain)
