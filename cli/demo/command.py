"""`keystage demo`: tells the story on a private stack, and says how to go on. Exit code 1 when a step did not hold."""

import sys
import time
from pathlib import Path
from typing import Any

import click
import orjson
from httpx import TransportError

from cli.demo.client import RequestFailedError
from cli.demo.files import NoInputError, input_files
from cli.demo.narrator import Narrator
from cli.demo.private_stack import StackFailedError, private_stack
from cli.demo.story import DemoFailedError, Story

_DATA = Path(".keystage-demo")


@click.command()
@click.option("--input", "given", type=click.Path(path_type=Path), help="A file or folder of yours to ingest.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON summary on stdout.")
def demo(given: Path | None, as_json: bool) -> None:
    """Show the whole of Keystage: ingest, ask, be told, replay, pay."""
    narrator = Narrator()
    started = time.monotonic()
    try:
        files = input_files(given)
        narrator.chapter("A whole Keystage starts on this machine")
        with private_stack(_DATA.absolute()) as stack:
            narrator.held(f"ready after {time.monotonic() - started:.0f} s at {stack['api_url']}")
            story = Story(_DATA.absolute(), stack["api_url"], narrator)
            story.tell(files)
    except (DemoFailedError, NoInputError, RequestFailedError, StackFailedError, TimeoutError, TransportError) as error:
        click.echo(f"\nThe demo did not hold: {error}", err=True)
        sys.exit(1)
    summary = {"ok": True, **story.summary, "seconds": round(time.monotonic() - started, 1)}
    _say_how_to_go_on(narrator, summary)
    if as_json:
        click.echo(orjson.dumps({name: value for name, value in summary.items() if name != "api_key"}).decode())


def _say_how_to_go_on(narrator: Narrator, summary: dict[str, Any]) -> None:
    narrator.chapter(f"All of it held, in {summary['seconds']:.0f} s. How to go on:")
    narrator.say(f'make up ARGS="--data {_DATA} --port 8080"      # the same stack with the same data; Ctrl-C stops it')
    narrator.say("")
    narrator.say(f"curl http://127.0.0.1:8080/v1/retrievers/{summary['retriever_id']}/execute \\")
    narrator.say(f"  -H 'Authorization: Bearer {summary['api_key']}' -H 'X-Namespace: default' \\")
    narrator.say('  -H \'Content-Type: application/json\' -d \'{"inputs": {"query": "what is a doorbell?"}}\'')
    narrator.say("")
    narrator.say(f"KEYSTAGE_DATA={_DATA} .venv/bin/keystage webhooks deliveries --org {summary['organization_id']}")
    narrator.say("")
    narrator.say("http://127.0.0.1:8080/docs shows every route in a browser, and can call it with that key")
