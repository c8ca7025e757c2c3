"""A lease by which one process of several leads. It is a matter of economy: two leaders for a moment do no harm."""

from datetime import timedelta

from pymongo.errors import DuplicateKeyError

from core.clock import DatabaseClock
from core.storage.handles import Handles
from core.storage.moments import from_now

_LEASE = timedelta(seconds=5)


class Leadership:
    """One process's claim to lead under a name."""

    def __init__(self, handles: Handles, clock: DatabaseClock, name: str, holder: str) -> None:
        self._leases = handles.system["leases"]
        self._clock = clock
        self._name = name
        self._holder = holder

    def hold(self) -> bool:
        """Take or prolong the lead; whether it is ours."""
        until = [
            {
                "$set": {
                    "holder": self._holder,
                    "until": from_now(_LEASE),
                }
            }
        ]
        if self._leases.update_one({"_id": self._name, "holder": self._holder}, until).matched_count:
            return True
        if self._leases.update_one({"_id": self._name, "until": {"$lte": self._clock.now()}}, until).matched_count:
            return True
        try:
            self._leases.insert_one({"_id": self._name, "holder": self._holder, "until": self._clock.now() + _LEASE})
        except DuplicateKeyError:
            return False
        return True

    def give_up(self) -> None:
        """Let somebody else lead."""
        self._leases.delete_one({"_id": self._name, "holder": self._holder})
