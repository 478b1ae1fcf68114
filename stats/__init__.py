"""The mathematics of ModelDesk: pure functions of numbers and arrays, without database, plots or files.

Every function names its formula and its source, says what it does at the edges (no data, one value, no
variance), and raises nothing but `ValueError` and `TypeError`. Only NumPy, SciPy and the standard library are
imported here.
"""
