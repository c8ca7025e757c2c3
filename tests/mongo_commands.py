"""The MongoDB commands that clients send, for tests that count them."""

from dataclasses import dataclass, field

from pymongo import monitoring


@dataclass
class MongoCommands(monitoring.CommandListener):
    """Notes what every client sends that was made after it was registered; emptied by whoever counts."""

    sent: list[str] = field(default_factory=list)
    documents: int = 0
    """that came back"""

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.sent.append(f"{event.command_name} {event.command[event.command_name]}")

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        cursor = event.reply.get("cursor", {})
        self.documents += len(cursor.get("firstBatch", cursor.get("nextBatch", ())))

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Counted when started."""
