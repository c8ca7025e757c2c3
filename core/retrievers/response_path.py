"""Reads where in a service's answer a result stands: the plain steps of JSONPath, or names with dots. Pure."""

import re

_STEP = re.compile(
    r"""
      \.(?P<name>[^.\[\]*'"\s][^.\[\]*'"]*)           # .name
    | \[(?P<index>\d{1,9})\]                           # [0]
    | \[(?P<quote>['"])(?P<quoted>[^'"]+)(?P=quote)\]  # ['name']
    """,
    re.VERBOSE | re.ASCII,
)


def steps_of(path: str) -> list[str | int]:
    """The names and places to go through, one after the other. Raises ValueError for what is no such path."""
    text = path if path.startswith("$") else f"${path}" if path[:1] in ("", "[") else f"$.{path}"
    steps: list[str | int] = []
    at = 1
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            raise ValueError("use names and places only: $.data.items[0]['a name'], or data.items.0.name")
        steps.append(int(step["index"]) if step["index"] else step["name"] or step["quoted"])
        at = step.end()
    return steps
