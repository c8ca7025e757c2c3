"""The table of docs/absence.md, made from what scenes showed and never by hand."""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from core.backends.backend import Backend
from tests.e2e.figures import Figures

PAGE = Path(__file__).parents[2] / "docs" / "absence.md"
_START, _END = "<!-- figures -->\n", "<!-- end of figures -->"
_PARTS: Mapping[Backend, str] = {
    Backend.MONGO: "MongoDB",
    Backend.REDIS: "Redis, cache and broker in one",
    Backend.BROKER: "a broker of its own",
    Backend.VECTORS: "the embedded owner of the vectors",
    Backend.BLOBS: "object storage (S3)",
    Backend.KEY_SERVICE: "the key service (transit)",
    Backend.EMBEDDER: "the embedding endpoint",
    Backend.RAY: "Ray",
}
_HEADS = (
    "part", "how", "first search", "slowest", "searches' answers", "health, slowest", "upload, slowest",
    "other request, slowest", "a search again after", "the batch ended after", "waits for", "attempts", "lost",
    "doubled", "documents",
)  # fmt: skip


def write_page(scenes: Sequence[Figures], objects: int, page: Path = PAGE) -> None:
    """Put the table in the place of the one that stands there."""
    text = page.read_text()
    before, _, rest = text.partition(_START)
    _, _, after = rest.partition(_END)
    page.write_text(f"{before}{_START}{table(scenes, objects)}\n{_END}{after}")


def table(scenes: Sequence[Figures], objects: int) -> str:
    """One row for each scene, below a sentence that says of what."""
    away = min(scene.away_seconds for scene in scenes)
    today = datetime.now(UTC).date()
    made = f"{today}, {os.cpu_count()} cores: {objects} objects in each batch, each part away for {away:.0f} s.\n"
    rows = [_HEADS, ("---",) * len(_HEADS), *map(_row, scenes)]
    return "\n".join([made, *(f"| {' | '.join(row)} |" for row in rows)])


def _row(scene: Figures) -> tuple[str, ...]:
    qdrant = scene.backend == Backend.VECTORS and os.environ.get("KEYSTAGE_QDRANT_URL")
    return (
        "a Qdrant server" if qdrant else _PARTS[Backend(scene.backend)],
        scene.manner,
        f"{_seconds(scene.search_first)} ({scene.search_first_status})",
        _seconds(scene.search_slowest),
        _counts(scene.searches),
        _seconds(scene.health_slowest),
        f"{_seconds(scene.upload_slowest)} ({_counts(scene.uploads)})",
        f"{_seconds(scene.other_slowest)} ({_counts(scene.others)})",
        _seconds(scene.search_well_after),
        "before" if scene.batch_ended_after < 0 else _seconds(scene.batch_ended_after),
        ", ".join(f"`{name}`" for name in scene.waiting_for) or "–",
        str(scene.attempts_beyond_the_first),
        str(scene.lost),
        str(scene.doubled),
        f"{scene.found} of {scene.expected}",
    )


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _counts(answers: Mapping[str, int]) -> str:
    return ", ".join(f"{count} × {status}" for status, count in answers.items()) or "–"
