"""The house's way of writing equations in docstrings, as LaTeX.

A docstring says `y = gamma (x - mean) / sqrt(var + eps) + beta`, which reads well in a terminal.
`to_latex` turns such a block into what MathJax shows. Two or more plain words in a row, and
whatever stands after three spaces, are a remark and stay upright.
"""

from __future__ import annotations

import re

_GREEK = {"alpha", "beta", "gamma", "pi"}
_FUNCTIONS = {"exp", "log", "max", "min", "cos"}
_NAME = r"[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)*"
_TOKEN = re.compile(
    r"(?P<code>`[^`]*`)"
    r"|(?P<text>[a-z]{2,}(?: [a-z]{2,}(?![\w\[(_{]))+)"
    r"|(?P<label>[a-z]+ \(Eq\. \d+\):)"
    r"|(?P<equation>\(Eq\. \d+; [^)]*\)|\(Eq\. \d+\))"
    r"|(?P<power>\d+e-?\d+)"
    r"|(?P<norm>\|\|(?P<inside>[^|]+)\|\|)"
    r"|(?P<big>(?:sum|max)_\{[^}]*\}|sum_[a-z]\b)"
    rf"|(?P<name>{_NAME})"
    r"|(?P<braces>_\{[^}]*\})"
    r"|(?P<gap> {2,})"
    r"|(?P<other>.)"
)

_PRODUCT = re.compile(r"(?<=[\w}\])|\1]) (?=[\w(\0|`])")
"""A space between two factors, which formulas do not show unless told to."""


def to_latex(lines: list[str]) -> str:
    """The lines of one block as LaTeX; several lines stand under each other at their `=`."""
    rows = [_row(line) for line in lines]
    if len(rows) == 1:
        return rows[0]
    body = " \\\\\n".join(re.sub(r"(^| )= ", r"\1&= ", row, count=1) for row in rows)
    return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"


def _row(line: str) -> str:
    formula, gap, remark = _split(line.strip())
    latex = _tokens(formula)
    return f"{latex} {gap}{_text(remark)}" if remark else latex


def _split(line: str) -> tuple[str, str, str]:
    """A formula and the remark after it: words that begin after two or more spaces."""
    match = re.search(
        r"(?<=\S) {2,}((?:with|without|before|after|a|the|bottom-up|top-down)(?:[ ,].*)?)$", line
    )
    if match and "=" not in match.group(1):
        return line[: match.start()].rstrip(" ;"), r"\qquad ", match.group(1)
    return line, "", ""


def _text(words: str) -> str:
    return r"\text{" + words.replace("_", r"\_").replace("`", "") + "}"


def _tokens(formula: str) -> str:
    formula = _roots(formula)
    parts = []
    for match in _TOKEN.finditer(formula):
        kind, text = match.lastgroup, match.group()
        if kind == "inside":
            kind = "norm"
        if kind == "name":
            parts.append(_name(text))
        elif kind == "code":
            parts.append(r"\texttt{" + text.strip("`").replace("_", r"\_") + "}")
        elif kind in ("text", "label", "equation"):
            parts.append(_text(text))
        elif kind == "power":
            number, exponent = text.split("e")
            parts.append(
                f"{'' if number == '1' else number + chr(92) + 'cdot '}10^{{{int(exponent)}}}"
            )
        elif kind == "norm":
            parts.append(rf"\lVert {_tokens(match.group('inside'))} \rVert")
        elif kind == "big":
            parts.append("\\" + text + " ")
        elif kind == "gap":
            parts.append(r" \qquad ")
        elif text == "\0":
            parts.append(r"\sqrt{")
        elif text == "\2":
            parts.append("{")
        elif text == "\1":
            parts.append("}")
        elif text == " " and _PRODUCT.match(formula, match.start()):
            parts.append(r"\, ")
        else:
            parts.append(text)
    return "".join(parts)


def _name(name: str) -> str:
    """A name of one letter is a symbol, a longer one is a word; `mean_c` has an index."""
    stem, _, index = name.rpartition("_")
    if stem and len(index) <= 2 and not index.isdigit():
        return f"{_name(stem)}_{{{index}}}"
    if name in _GREEK:
        return "\\" + name
    if name == "eps":
        return r"\varepsilon"
    if name in _FUNCTIONS:
        return "\\" + name
    if name.endswith("hat") and len(name) == 4:
        return rf"\hat{{{name[0]}}}"
    if re.fullmatch(r"[a-z]\d", name):
        return f"{name[0]}_{name[1]}"
    if re.fullmatch(r"d?[A-Za-z]", name):
        return name
    return r"\mathrm{" + name.replace("_", r"\_") + "}"


def _roots(formula: str) -> str:
    """`sqrt(...)`, `^(...)` and `_(...)` with their brackets marked: they become braces."""
    while opened := re.search(r"sqrt\(|[\^_]\(", formula):
        start, inside = opened.span()
        level, end = 0, inside - 1
        for end in range(inside - 1, len(formula)):
            level += {"(": 1, ")": -1}.get(formula[end], 0)
            if level == 0:
                break
        mark = "\0" if opened[0] == "sqrt(" else opened[0][0] + "\2"
        formula = f"{formula[:start]}{mark}{formula[inside:end]}\1{formula[end + 1 :]}"
    return formula
