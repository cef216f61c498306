"""The server of `minran live`: who gets an answer, and what questions are none."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from live_helpers import serving

import minran
from minran.live import Server, look
from minran.live.server import MOST, first_pictures

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


def ask(
    server: Server,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    method: str | None = None,
) -> tuple[int, Any, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request(method or ("GET" if body is None else "POST"), path, body, headers or {})
    response = connection.getresponse()
    text = response.read()
    connection.close()
    kind = response.headers.get_content_type()
    return (
        response.status,
        json.loads(text) if kind == "application/json" else text,
        response.headers,
    )


def question(server: Server, **changes: Any) -> bytes:
    pixels = base64.b64encode(server.pictures[0].tobytes()).decode()
    return json.dumps({"pixels": pixels, **changes}).encode()


def values(sent: dict[str, Any]) -> np.ndarray:
    array = np.frombuffer(base64.b64decode(sent["values"]), "<f4")
    return array.reshape(sent["rows"], sent["columns"])


def test_the_page_loads_nothing_from_elsewhere(server: Server) -> None:
    for name in ("", "live.css", "live.js"):
        status, text, headers = ask(server, f"/{server.token}/{name}")
        assert status == 200
        assert not re.search(rb"https?://|//[a-z]+\.[a-z]+/", text)
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("channel", [None, 3, 10**6])
def test_answers_are_minrans(server: Server, channel: int | None) -> None:
    status, answer, _ = ask(
        server, f"/{server.token}/look", question(server, channel=channel), JSON
    )
    assert status == 200
    network = server.networks["quickstart"]
    shown = look(network.trained, network.prepare(server.pictures[:1])[0])
    np.testing.assert_allclose(answer["logits"], shown.logits, rtol=1e-6)
    for sent, (name, steps) in zip(answer["modules"], shown.modules.items(), strict=True):
        assert sent["name"] == name
        for part, step in zip(sent["steps"], steps, strict=True):
            last = step.values.shape[2] - 1
            expected = (
                step.values.mean(axis=2)
                if channel is None
                else step.values[..., min(channel, last)]
            )
            np.testing.assert_array_equal(values(part["map"]), expected)


@pytest.mark.parametrize("size", [7, 8, 16, 32, 64])
def test_pictures_to_begin_with_are_of_ten_classes_at_any_size(size: int) -> None:
    pictures, names, masks = first_pictures(size)
    assert pictures.shape == (10, size, size, 3) and pictures.dtype == np.uint8
    assert len(set(names)) == 10 and masks.shape == (10, size, size)
    assert (masks.mean(axis=(1, 2)) > 0.02).all()


def test_a_painted_mask_and_other_weights_change_the_answer(server: Server) -> None:
    path = f"/{server.token}/look"
    plain = ask(server, path, question(server), JSON)[1]["logits"]
    zero = {"stages.0.1": [[0.0, 0.0], [0.0, 0.0]]}
    masked = ask(server, path, question(server, masks=zero), JSON)[1]
    assert not values(masked["modules"][0]["steps"][-3]["map"]).any()
    random = ask(server, path, question(server, random=True), JSON)[1]
    assert np.abs(np.subtract(plain, masked["logits"])).max() > 1e-6
    assert np.abs(np.subtract(plain, random["logits"])).max() > 0.1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pixels": "AAAA"}, "pixels must be 3072 bytes"),
        ({"pixels": "ü"}, "no base64"),
        ({"pixels": None}, "text in base64"),
        ({"network": "other"}, "no network 'other'"),
        ({"network": ["quickstart"]}, "no network"),
        ({"random": 1}, "random must be true or false, got 1"),
        ({"network": "quickstart_no_mask", "masks": {"stages.0.1": [[1]]}}, "with a mask"),
        ({"channel": -1}, "channel must be"),
        ({"channel": True}, "channel must be"),
        ({"channel": 0.5}, "channel must be"),
        ({"masks": [1]}, "masks must be an object"),
        ({"masks": {"stages.0.1": [[1], [1, 2]]}}, "one length"),
        ({"masks": {"stages.0.1": "words"}}, "rows of numbers"),
        ({"masks": {"stages.0.1": [[float("nan")]]}}, "finite numbers"),
        ({"masks": {"fc": [[1]]}}, "no attention module 'fc'"),
        ({"extra": 1}, "no extra"),
    ],
)
def test_questions_that_are_none_get_a_sentence(
    server: Server, changes: dict[str, Any], sentence: str
) -> None:
    status, answer, _ = ask(server, f"/{server.token}/look", question(server, **changes), JSON)
    assert status == 400
    assert sentence in answer["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_bodies_that_are_no_question_get_a_sentence(server: Server, body: bytes) -> None:
    assert ask(server, f"/{server.token}/look", body, JSON)[0] == 400


def test_nobody_else_gets_an_answer(server: Server) -> None:
    right, port = f"/{server.token}/setup.json", server.server_port
    assert ask(server, right)[0] == 200
    assert ask(server, right, headers={"Host": f"localhost:{port}"})[0] == 200
    wrong = ["/", "/setup.json", "//setup.json", "/wrong/setup.json", f"/{server.token}", "/%00/x"]
    wrong += [f"/{server.token[:-1]}/", f"/{server.token}x/setup.json"]
    for path in wrong:
        assert ask(server, path)[0] == 403, path
    for host in (
        "example.org",
        f"example.org:{port}",
        "127.0.0.1",
        f"127.0.0.1:{port}.example.org",
    ):
        assert ask(server, right, headers={"Host": host})[0] == 403, host
    foreign = {"Origin": "http://example.org"}
    assert ask(server, right, headers=foreign)[0] == 403
    asked = question(server)
    look_here = f"/{server.token}/look"
    assert ask(server, look_here, asked, {**JSON, **foreign})[0] == 403
    assert ask(server, look_here, asked, {"Content-Type": "text/plain"})[0] == 404
    assert ask(server, "/wrong/look", asked, JSON)[0] == 403


@pytest.mark.parametrize(
    "name",
    ["../server.py", "..%2fserver.py", "/etc/passwd", "page/live.js", "live.js/", "x" * 5000],
)
def test_only_the_pages_files_are_found(server: Server, name: str) -> None:
    assert ask(server, f"/{server.token}/{name}")[0] == 404


def test_a_question_too_long_or_of_no_length_is_not_read(server: Server) -> None:
    path = f"/{server.token}/look"
    for length in (str(MOST + 1), "-1", "many", "٣", "9" * 5000):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as raw:
            head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n"
            raw.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode())
            assert raw.recv(100).split()[1] in (b"413", b"400")
    assert ask(server, path, method="PUT")[0] == 501


def test_a_fault_of_minrans_own_is_not_hidden(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader who goes away is nothing to talk about; anything else is."""
    monkeypatch.setattr(server, "answer", lambda asked: 1 / 0)
    for reason in (ConnectionResetError, ZeroDivisionError):
        try:
            raise reason
        except reason:
            server.handle_error(None, ("127.0.0.1", 1))
        assert ("ZeroDivisionError" in capsys.readouterr().err) == (reason is ZeroDivisionError)
    with pytest.raises(http.client.RemoteDisconnected):
        ask(server, f"/{server.token}/look", question(server), JSON)
    capsys.readouterr()


def test_ten_clients_at_once_get_their_own_answers(server: Server) -> None:
    network = server.networks["quickstart"]
    expected = network.trained(minran.tensor(network.prepare(server.pictures))).numpy()
    got: dict[int, list[float]] = {}

    def client(k: int) -> None:
        pixels = base64.b64encode(server.pictures[k].tobytes()).decode()
        body = json.dumps({"pixels": pixels}).encode()
        got[k] = ask(server, f"/{server.token}/look", body, JSON)[1]["logits"]

    threads = [threading.Thread(target=client, args=(k,)) for k in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose([got[k] for k in range(10)], expected, atol=1e-5)


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C cannot be sent to one process")
def test_the_command_serves_until_ctrl_c() -> None:
    command = [sys.executable, "-m", "minran", "live", "--no-browser"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        try:
            assert run.stdout is not None
            found = re.match(r"http://127\.0\.0\.1:(\d+)(/[\w-]+/)", run.stdout.readline())
            assert found
            connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=20)
            connection.request("GET", found[2])
            assert connection.getresponse().status == 200
            connection.close()
            run.send_signal(signal.SIGINT)
            out, err = run.communicate(timeout=60)
        finally:
            run.kill()
    assert (run.returncode, out, err) == (0, "ended\n", "")
