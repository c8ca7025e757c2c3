"""How long searches take beside another customer's long documents, and alone: on a private stack, with its own model.

    python -m benchmarks.beside_a_long_document [--searches 50] [--pieces 1500]

It prints p50 and p95 of both, and exits with 1 when a search ended after the document, or when p95 more than doubled.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.e2e.beside import search_beside_a_long_document
from tests.e2e.customer import new_customer
from tests.stack import running_stack

_BAR = 2.0


def main() -> int:
    """Measure, print, and say whether the bar was met."""
    parser = argparse.ArgumentParser(description="Searches beside a long document, and alone.")
    parser.add_argument("--searches", type=int, default=50)
    parser.add_argument(
        "--pieces", type=int, default=1500, help="of each long document: what the model embeds in a minute"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ks-beside-") as made, running_stack(Path(made) / "data") as stack:
        long, searching = (new_customer(stack.data, stack.api_url, name) for name in ("long", "searching"))
        found = search_beside_a_long_document(long, searching, given.searches, lambda _: given.pieces)
    print(found)
    late = found.beside.ended_at >= found.document_ended_at
    return int(late or found.beside.p95 > _BAR * found.alone.p95)


if __name__ == "__main__":
    sys.exit(main())
