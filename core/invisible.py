"""Which characters nobody sees, for whatever people copy from a page or a chat and paste into a field. Pure."""

from typing import Final

CONTROL: Final = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
"""For a class of a regular expression: what ends lines or steers a terminal."""
JOINERS: Final = r"\u200c\u200d\ufe00-\ufe0f"
"""What shapes the characters beside it, in Persian, in Indian scripts, in emoji."""
UNSEEN: Final = (
    r"\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    r"\u3164\ufeff\uffa0\ufff0-\ufffb"
)
"""What takes no room, turns the direction round, or is a blank that counts as a letter."""
TAGS: Final = r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
"""The same beyond the first plane, where a pattern of JSON Schema cannot name it; flags are made of some."""
QUOTES: Final = "\"'`´«»‹›\u2018-\u201f„＂＇「」『』"
"""In whichever language they were put around a value."""
