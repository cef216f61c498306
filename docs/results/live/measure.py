"""How long one pass of the live page takes: on the site, by onnxruntime in Chromium, and by minran.

python docs/results/live/measure.py ROUNDS > docs/results/live/passes.json
"""

from __future__ import annotations

import functools
import http.server
import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "docs" / "_ext"), str(ROOT / "tests" / "live")]

import live  # noqa: E402
from browser_helpers import chromium  # noqa: E402
from selenium import __version__ as selenium  # noqa: E402

import minran  # noqa: E402
from minran import machine  # noqa: E402
from minran.live import look  # noqa: E402

PASSES = 20
IN_THE_PAGE = """
const [network, passes, done] = arguments, out = [];
const question = { pixels: state.pixels, network, random: false, channel: null, masks: {} };
(async () => {
  await source.ask(question);
  for (let k = 0; k < passes; k++) {
    const start = performance.now();
    await source.ask(question);
    out.push(performance.now() - start);
  }
  done(out);
})();
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """The site's folder, without a word."""

    def log_message(self, *words: Any) -> None:
        pass


def by_minran(name: str) -> list[float]:
    """Milliseconds of `look`, after one pass that is not counted."""
    trained = minran.load_pretrained(name)
    picture = trained.preprocess(minran.data.load_shapes("test", 1).images)[0]
    times = []
    for _ in range(PASSES + 1):
        start = time.perf_counter()
        look(trained.model, picture)
        times.append(1000 * (time.perf_counter() - start))
    return times[1:]


def main(rounds: int) -> None:
    """Both in alternation."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        live.write(Path(folder))
        serve = functools.partial(Quiet, directory=folder)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with tempfile.TemporaryDirectory() as own, chromium(Path(own)) as page:
            page.get(f"http://127.0.0.1:{server.server_port}/")
            page.answered(0)
            for turn in range(rounds):
                for name in ("quickstart", "attention56_cifar"):
                    site = page.execute_async_script(IN_THE_PAGE, name, PASSES)
                    rows.append({"round": turn, "network": name, "by": "site", "ms": site})
                    own_times = by_minran(name)
                    rows.append({"round": turn, "network": name, "by": "minran", "ms": own_times})
            browser = page.capabilities["browserVersion"]
    used = {"chromium": browser, "runtime": live.RUNTIME, "selenium": selenium}
    print(json.dumps({**machine.facts(), **used, "rows": rows}, indent=1))


main(int(sys.argv[1]))
