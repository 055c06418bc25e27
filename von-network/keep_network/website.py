"""The web server of a local network: it is started, found and ended like the nodes."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from keep_network import processes, record, seeds
from keep_network.addresses import LOOPBACK
from keep_network.errors import NetworkError
from keep_network.processes import Identity, NodeProcess
from keep_network.record import Network
from keep_network.web.settings import Settings

PORT = 9000
MODULE = "web"
FOLDER = "web"
_READY_S = 20
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never by a proxy
_OURS = ("GENESIS_URL", "GENESIS_FILE", "LEDGER_SEED", "PORT")


def launch(network: Network, die_with: Identity | None) -> NodeProcess:
    """Start the web server; it waits for the nodes by itself."""
    who = processes.run(network.folder, MODULE, [], _output(network.folder), die_with)
    return NodeProcess(who, (), die_with, MODULE)


def wait(network: Network, started: NodeProcess) -> None:
    """Return when the web server serves the genesis.

    Raises:
        NetworkError: it does not; with the last line that it printed.
    """
    deadline = time.monotonic() + _READY_S
    while not _ready(f"{url(network)}/status"):
        if not started.who.alive() or time.monotonic() > deadline:
            lines = _output(network.folder).read_text(errors="replace").strip().splitlines()
            why = lines[-1] if lines else "it printed nothing"
            raise NetworkError(f"the web server does not start: {why}; see --web-port")
        time.sleep(0.02)


def url(network: Network) -> str | None:
    """Return where the web server of a network is, None if it is to have none."""
    return f"http://{network.hosts[0]}:{network.web_port}" if network.web_port else None


def environment(folder: Path, env: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of a local network's web server; the user's variables win.

    Not those that say which network it is, and not PORT, which is set for other reasons in
    many a shell: `--web-port` says it.

    Raises:
        NetworkError: there is no network in the folder, or its seed is gone.
    """
    network = record.load(folder)
    place = folder / FOLDER
    defaults = {
        "REGISTER_NEW_DIDS": "True",
        "LEDGER_CACHE_PATH": str(place / "ledger.db"),
        "TAILS_PATH": str(place / "tails"),
        "WEB_SERVER_HOST": ",".join(dict.fromkeys((LOOPBACK, network.hosts[0]))),
        "LEDGER_INSTANCE_NAME": f"Indy network {network.name}",
    }
    own = {
        "GENESIS_FILE": str(network.genesis),
        "LEDGER_SEED": seeds.of(network, seeds.TRUSTEE).decode(),
        "PORT": str(network.web_port or PORT),
        "WEB_SERVER_NAMES": ",".join((env.get("WEB_SERVER_NAMES", ""), *network.names)),
    }
    theirs = {name: value for name, value in env.items() if name not in _OURS}
    return defaults | theirs | own


def check(network: Network) -> None:
    """Refuse a web server's environment that makes no sense, before anything is started.

    Raises:
        BadInputError: it names the variable, or the file that it names, and what is wrong.
    """
    Settings.load(environment(network.folder, os.environ))


def _ready(status: str) -> bool:
    try:
        with _DIRECT.open(status, timeout=1) as answer:
            return bool(json.load(answer)["ready"])
    except (OSError, ValueError, KeyError, http.client.HTTPException):
        return False


def _output(folder: Path) -> Path:
    place = folder / "log"
    place.mkdir(exist_ok=True)
    return place / "web.out"
