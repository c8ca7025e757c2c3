"""The MongoDB commands that clients send, for tests that count them."""

from dataclasses import dataclass, field

from pymongo import monitoring


@dataclass
class MongoCommands(monitoring.CommandListener):
    """Notes what every client sends that was made after it was registered; emptied by whoever counts."""

    sent: list[str] = field(default_factory=list)

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.sent.append(f"{event.command_name} {event.command[event.command_name]}")

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Counted when started."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Counted when started."""
