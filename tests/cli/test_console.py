"""A console that lacks a letter (cp1252, ASCII, LC_ALL=C) shows an escape; nothing ends for it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from minran.cli import main

ROW = {"kind": "epoch", "step": 1, "epoch": 1, "train_loss": 1.0, "seconds": 1.0}
NAMES = ["猫", "🐈", "Ä", "\udcff", "שלום"]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_every_letter_is_printed_somehow(encoding, name, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("run/history.jsonl").write_text(json.dumps(ROW) + "\n")
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding) for _ in "oe")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert main(["plot", "run", "--out", f"{name}.png"]) == 0
    assert main(["runs", name]) == 2
    told = []
    for stream in (out, err):
        stream.flush()
        told.append(stream.buffer.getvalue().decode(encoding))
    for text in told:
        try:
            name.encode(encoding)
            assert name in text
        except UnicodeEncodeError:
            assert ascii(name)[1:-1] in text
