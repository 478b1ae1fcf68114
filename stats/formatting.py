"""Numbers in sentences: the same digits, signs and units wherever a result is put into words.

>>> format_number(0.01234567), format_number(-0.0123, "%"), format_percent(0.0798, signed=True)
('0.01235', '−1.23 pp', '+7.98 %')
>>> format_p_value(0.0312), format_p_value(5e-63)
('p = 0.0312', 'p < 0.0001')

A space stands between a number and the percent sign [1]_.

References
----------
.. [1] Bureau International des Poids et Mesures (2019). The International System of Units, 9th edition, 5.4.7.
"""

from __future__ import annotations

__all__ = ["MINUS", "SMALLEST_P", "format_number", "format_p_value", "format_percent"]

MINUS = "\N{MINUS SIGN}"  # a hyphen is shorter than a plus sign
SMALLEST_P = 1e-4  # below it the digits of a p-value say nothing: no model of the data is right that far out


def format_number(value: float, unit: str = "") -> str:
    """Return a number as people read it: four significant digits, differences of rates in percentage points.

    Parameters
    ----------
    value : float
    unit : {"", "%"}
        "%" prints differences of rates in percentage points, three significant digits.

    Returns
    -------
    str
    """
    if unit == "%":
        return _with_minus(f"{100.0 * value:.3g} pp")
    return _with_minus(f"{value:.4g}" if abs(value) < 1e5 else f"{value:,.0f}")


def format_percent(share: float, *, signed: bool = False) -> str:
    """Return a share of one as percent, three significant digits: 0.0512 is `5.12 %`.

    Parameters
    ----------
    share : float
    signed : bool
        Also a plus sign, for changes.

    Returns
    -------
    str
    """
    percent = 100.0 * share
    text = _with_minus(f"{percent:.3g} %" if abs(percent) < 999.5 else f"{percent:,.0f} %")
    return f"+{text}" if signed and share > 0 else text


def format_p_value(p_value: float, name: str = "p") -> str:
    """Return a p-value with its name, three significant digits; a very small one as a bound.

    Parameters
    ----------
    p_value : float
        In [0, 1].
    name : str
        What it is called in the sentence, such as `adjusted p`.

    Returns
    -------
    str
    """
    return f"{name} < {SMALLEST_P:.4f}" if p_value < SMALLEST_P else f"{name} = {p_value:.3g}"


def _with_minus(text: str) -> str:
    return MINUS + text[1:] if text.startswith("-") else text  # not the sign of an exponent
