"""The textbook, in float64 NumPy: what fastgd is compared with.

Written by hand from the papers and importing nothing from fastgd, so that no formula of the library can
influence what judges it. Plain before fast: one line per equation wherever that is possible.
"""
