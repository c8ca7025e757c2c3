"""`make bench`: runs every benchmark and writes the figures to `results/latest.json`."""

import importlib
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

_BENCHMARKS = ("embedded_database", "limits", "spine")
_RESULTS = Path(__file__).parent / "results" / "latest.json"


def main() -> None:
    """Measure, print and store."""
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    figures = {name: importlib.import_module(f"benchmarks.{name}").measure() for name in _BENCHMARKS}
    results = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine, **figures}
    text = json.dumps(results, indent=2) + "\n"
    print(text, end="")
    _RESULTS.parent.mkdir(exist_ok=True)
    _RESULTS.write_text(text)


if __name__ == "__main__":
    main()
