"""What a server process does to itself."""

import json
import subprocess
import sys
from pathlib import Path

_SERVE = """
import gc, json, os, signal, sys
from builderos.core.settings import load_settings
from builderos.interfaces.http import place, process
from builderos.interfaces.http.traffic import Traffic

async def asgi(scope, receive, send):
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return

class Cycle:
    ended = False
    def __init__(self):
        self.itself = self
    def __del__(self):
        Cycle.ended = True

def ready(url):
    before = gc.get_threshold()[0]
    Cycle()
    gc.collect()
    print(json.dumps({"frozen": gc.get_freeze_count(), "young": before, "collected": Cycle.ended}), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

settings = load_settings(home=sys.argv[1], port=0)
process.run(asgi, settings, place.listen(settings), Traffic(), ready, lambda: None)
"""


def test_a_server_that_is_ready_looks_for_garbage_in_what_is_new_alone(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SERVE, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    told = json.loads(done.stdout)
    assert told["frozen"] > 10_000
    assert told["young"] > 5_000
    assert told["collected"] is True
