from __future__ import annotations

import hashlib
import os
import re
import socket
import time
import warnings

import pytest

from minran.data import archive
from minran.data.archive import Source, fetch, fetch_first
from minran.errors import DataError


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def test_whole_file_comes_and_no_part_stays(server, tmp_path):
    fetch(server.url, tmp_path / "file", md5(server.content))
    assert (tmp_path / "file").read_bytes() == server.content
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert server.ranges == [None]


def test_progress_bar_names_the_file_and_reaches_its_size(server, tmp_path, capsys):
    fetch(server.url, tmp_path / "file.tar.gz", md5(server.content), progress=True)
    shown = capsys.readouterr().err
    assert "file.tar.gz: 100%" in shown and "300k/300k" in shown
    assert re.search(r"\[\d\d:\d\d<(\d\d:\d\d|\?), .*B/s\]", shown)  # time gone, time left, speed


def test_quiet_when_not_a_terminal(server, tmp_path, capsys):
    fetch(server.url, tmp_path / "file", md5(server.content))
    assert capsys.readouterr().err == ""


def test_a_cut_is_taken_up_where_it_was(server, tmp_path):
    server.cuts = [100_000]
    fetch(server.url, tmp_path / "file", md5(server.content))
    assert (tmp_path / "file").read_bytes() == server.content
    assert server.ranges == [None, "bytes=100000-"]


def test_a_later_call_resumes(server, tmp_path):
    server.cuts = [100_000, 50_000]
    with pytest.raises(DataError, match="150000 of 300000 bytes; run again"):
        fetch(server.url, tmp_path / "file", md5(server.content), attempts=2)
    assert (tmp_path / "file.part").stat().st_size == 150_000
    assert not (tmp_path / "file").exists()
    fetch(server.url, tmp_path / "file", md5(server.content))
    assert (tmp_path / "file").read_bytes() == server.content
    assert server.ranges[-1] == "bytes=150000-"


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    server.knows_ranges = False
    (tmp_path / "file.part").write_bytes(server.content[:1000])
    fetch(server.url, tmp_path / "file", md5(server.content))
    assert (tmp_path / "file").read_bytes() == server.content


def test_a_complete_part_is_only_checked(server, tmp_path):
    (tmp_path / "file.part").write_bytes(server.content)
    fetch(server.url, tmp_path / "file", md5(server.content))
    assert (tmp_path / "file").read_bytes() == server.content


@pytest.mark.parametrize("foreign", [b"x" * 1000, b"x" * 400_000])
def test_wrong_bytes_of_an_earlier_call_are_fetched_anew(server, tmp_path, foreign):
    (tmp_path / "file.part").write_bytes(foreign)
    fetch(server.url, tmp_path / "file", md5(server.content))
    assert (tmp_path / "file").read_bytes() == server.content


def test_wrong_checksum_names_both(server, tmp_path):
    expected = md5(b"something else")
    with pytest.raises(DataError) as caught:
        fetch(server.url, tmp_path / "file", expected)
    assert expected in str(caught.value) and md5(server.content) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_dead_server(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    with pytest.raises(DataError, match="refused"):
        fetch(url, tmp_path / "file", "0" * 32)


def test_silent_server(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(DataError, match="timed out"):
            fetch(url, tmp_path / "file", "0" * 32, timeout=0.2)


def test_refusal_names_the_status(server, tmp_path):
    server.status = 404
    with pytest.raises(DataError, match="Not Found"):
        fetch(server.url, tmp_path / "file", "0" * 32)


@pytest.mark.parametrize("length", ["1000", "nonsense", "-5", "", "1000, 2000"])
def test_a_server_that_lies_about_the_length(server, tmp_path, length):
    """Too few bytes are not the file, and are not gone on from later; nonsense is passed over."""
    server.headers = {"Content-Length": length}
    if length == "1000":
        with pytest.raises(DataError, match=r"wrong checksum.*\(1000 bytes\)"):
            fetch(server.url, tmp_path / "file", md5(server.content))
        assert list(tmp_path.iterdir()) == []
    else:
        fetch(server.url, tmp_path / "file", md5(server.content))
        assert (tmp_path / "file").read_bytes() == server.content
    server.headers = {"Content-Length": "999999"}
    with pytest.raises(DataError, match="of 999999 bytes; run again"):
        fetch(server.url, tmp_path / "other", md5(server.content), attempts=1)
    server.headers = {}
    fetch(server.url, tmp_path / "other", md5(server.content))
    assert (tmp_path / "other").read_bytes() == server.content


def test_a_server_that_does_not_stop(server, tmp_path):
    server.headers, server.repeat = {"Content-Length": ""}, 50
    expected = {"md5": md5(server.content), "size": len(server.content)}
    with pytest.raises(DataError, match="more than 300000 bytes came"):
        fetch(server.url, tmp_path / "file", **expected)
    assert list(tmp_path.iterdir()) == []
    server.headers, server.repeat = {}, 1
    fetch(server.url, tmp_path / "file", **expected)
    assert (tmp_path / "file").read_bytes() == server.content


def test_a_web_page_in_place_of_the_file(server, tmp_path):
    server.content = b"\n<!DOCTYPE html><title>Log in to this network</title>"
    with pytest.raises(DataError, match=r"a web page instead of the file.*was deleted"):
        fetch(server.url, tmp_path / "file", "0" * 32)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["file:///etc/passwd", "gopher://x/", "/again"])
def test_a_server_that_sends_elsewhere(server, tmp_path, where):
    server.status, server.headers = 302, {"Location": where}
    with pytest.raises(DataError, match=r"redirect|infinite loop|not allowed"):
        fetch(server.url, tmp_path / "file", "0" * 32)
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_is_no_file(server, tmp_path):
    os.mkfifo(tmp_path / "file.part")
    with pytest.raises(DataError, match="is no file but a pipe"):
        fetch(server.url, tmp_path / "file", md5(server.content))


def sources(tmp_path, *servers):
    """Each server's address of a file that has a name of its own, and `servers[-1]`'s content."""
    right = servers[-1].content
    return [
        Source(f"{server.url}{k}?download=1", tmp_path / f"{k}.tar.gz", md5(right), len(right))
        for k, server in enumerate(servers)
    ]


def break_off(server):
    server.cuts = [100_000, 0, 0]


def lie(server):
    server.content = server.content[:-1] + b"?"


def lie_about_the_length(server):
    server.headers, server.repeat = {"Content-Length": ""}, 9


def send_a_page(server):
    server.content = b"<html>Log in first"


def send_in_circles(server):
    server.status, server.headers = 302, {"Location": server.url}


def refuse(server):
    server.status = 503


@pytest.mark.parametrize(
    ("do", "reason"),
    [
        (break_off, "ended after 100000 of 300000 bytes"),
        (lie, "wrong checksum"),
        (lie_about_the_length, "more than 300000 bytes"),
        (send_a_page, "a web page instead of the file"),
        (send_in_circles, "infinite loop"),
        (refuse, "Service Unavailable"),
    ],
)
def test_a_bad_address_is_left_for_the_next(server, second, tmp_path, do, reason):
    bad, good = sources(tmp_path, server, second)
    do(server)
    with pytest.warns(UserWarning, match=f"{reason}.*; trying {re.escape(good.url)}"):
        assert fetch_first([bad, good]) == good
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "1.tar.gz": second.content
    }


def test_a_server_that_sends_on_is_followed(server, second, tmp_path):
    server.status, server.headers = 302, {"Location": second.url}
    (one,) = sources(tmp_path, server)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fetch_first([one]).path.read_bytes() == second.content


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(archive, "WINDOW", 0.2)


@pytest.mark.parametrize("slowness", [0.01, 60.0])
def test_a_slow_address_is_left_for_the_next(server, second, tmp_path, hasty, slowness):
    """Whether it crawls or falls silent."""
    server.crawl, began = slowness, time.monotonic()
    slow, quick = sources(tmp_path, server, second)
    with pytest.warns(UserWarning, match=r"only \d+ kB/s in the last .* s; trying"):
        assert fetch_first([slow, quick], least_rate=1e6) == quick
    assert time.monotonic() - began < 2
    assert [path.name for path in tmp_path.iterdir()] == ["1.tar.gz"]


def test_where_all_are_slow_the_fastest_goes_on(server, second, tmp_path, hasty):
    server.crawl, second.crawl = 0.002, 0.02
    with pytest.warns(UserWarning, match="trying") as said:
        assert fetch_first(sources(tmp_path, server, second), 1e9).url.startswith(server.url)
    assert len(said) == 2
    start = int(server.ranges[1].removeprefix("bytes=").rstrip("-"))
    assert 10_000 < start < 300_000 and len(server.ranges) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["0.tar.gz"]


def test_all_reasons_are_told(server, second, tmp_path):
    refuse(server)
    both = sources(tmp_path, server, second)
    lie(second)
    with pytest.warns(UserWarning, match="Unavailable"), pytest.raises(DataError) as caught:
        fetch_first(both)
    for part in (both[0].url + ": Service Unavailable; ", both[1].url + ": wrong checksum"):
        assert part in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "folder", "pipe", "nothing"])
def test_a_folder_as_a_server(server, tmp_path, kind):
    place = tmp_path / "a b"
    makers = {"file": lambda: place.write_bytes(server.content), "folder": place.mkdir}
    makers |= {"pipe": lambda: os.mkfifo(place), "nothing": lambda: None}
    makers[kind]()
    source = Source(place.as_uri(), tmp_path / "copy", md5(server.content), 300_000)
    if kind == "file":
        assert fetch_first([source]).path.read_bytes() == server.content
    else:
        with pytest.raises(DataError, match=r"is no file but|cannot be read: No such file"):
            fetch_first([source])


@pytest.mark.parametrize(
    "url",
    ["http://[::1/", "http://127.0.0.1:port/", "http://a b/", "file://elsewhere/x", "http://"],
)
def test_what_is_no_address(tmp_path, url):
    with pytest.raises(DataError, match=r"\w"):
        fetch_first([Source(url, tmp_path / "file", "0" * 32, 10)])
    assert list(tmp_path.iterdir()) == []
