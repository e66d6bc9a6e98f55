"""What the server of a dashboard answers."""

import json
import urllib.request
from typing import Any

import lineshaft as ls


def get(engine: ls.Engine, path: str) -> Any:
    """Ask for a path of the dashboard of an engine, which is started if need be."""
    with urllib.request.urlopen(engine.dashboard_url + path, timeout=30) as answer:
        return json.load(answer)
