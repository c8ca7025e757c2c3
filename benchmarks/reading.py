"""`python -m benchmarks.reading`: what it costs to read files in a process of their own.

Prints the milliseconds of a small document with it and without, the start of a process, and its idle memory.
"""

import json
import statistics
import time

from benchmarks.timing import median_ms
from core.collections.extractor_parameters import TextExtractorParameters
from pipelines.extractors.reader import FileBounds, Reader, resident_mb
from pipelines.extractors.reading import read_text
from pipelines.extractors.reading_outcome import Text
from pipelines.extractors.splitting import split

_DOCUMENT = b"Keys are rotated in the vault. " * 30
_PARAMETERS = TextExtractorParameters()
_CALLS = 500
_STARTS = 5


def main() -> None:
    """Measure and print."""
    starts, idle = zip(*(_start() for _ in range(_STARTS)), strict=True)
    reader = Reader(FileBounds(60, 1024))
    apart = median_ms(lambda: _read_apart(reader), _CALLS)
    reader.close()
    here = median_ms(_read_here, _CALLS)
    figures = {
        "document_bytes": len(_DOCUMENT),
        "ms_in_its_process": round(apart, 3),
        "ms_in_this_process": round(here, 3),
        "ms_overhead": round(apart - here, 3),
        "ms_start_with_first_document": round(1000 * statistics.median(starts)),
        "idle_mb": round(statistics.median(idle), 1),
    }
    print(json.dumps(figures))


def _start() -> tuple[float, float]:
    """Seconds to the first document of a new process, and its memory afterwards."""
    reader = Reader(FileBounds(60, 1024))
    started = time.perf_counter()
    _read_apart(reader)
    seconds = time.perf_counter() - started
    memory = resident_mb(reader.process_id)
    reader.close()
    return seconds, memory


def _read_apart(reader: Reader) -> None:
    reader.read(_DOCUMENT, "text/plain", _PARAMETERS, 5000, lambda: None)


def _read_here() -> None:
    reading = read_text(_DOCUMENT, "text/plain")
    assert isinstance(reading, Text)
    list(split(reading.content, reading.is_markdown, _PARAMETERS))


if __name__ == "__main__":
    main()
