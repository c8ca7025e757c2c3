"""Names of encodings, as content types and documents write them, and the Python codec that each of them means. Pure."""

import codecs
import encodings.aliases
import re
from collections.abc import Mapping
from typing import Final

_MEANT: Final = {
    "ascii": "windows-1252",
    "iso8859-1": "windows-1252",
    "cp1252": "windows-1252",
    "iso8859-9": "cp1254",
    "tis-620": "cp874",
    "iso8859-11": "cp874",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
}
"""Encodings that the web takes for the larger one round them, as browsers do."""
_KNOWN: Final = frozenset(encodings.aliases.aliases) | frozenset(encodings.aliases.aliases.values())
"""Names that Python may be asked for: it remembers each name for ever, the unknown ones too."""
_LABELS: Final = {
    "utf-8": "unicode_1_1_utf_8 utf8mb4 unicode20utf8",
    "utf-16-le": "csunicode iso_10646_ucs_2 ucs_2 unicode unicodefeff",
    "utf-16-be": "unicodefffe",
    "iso8859-2": "iso88592",
    "iso8859-5": "iso88595",
    "iso8859-6": "iso88596 iso_8859_6_e iso_8859_6_i csiso88596e csiso88596i",
    "iso8859-7": "iso88597 sun_eu_greek",
    "iso8859-8": "iso88598 iso_8859_8_e iso_8859_8_i csiso88598e csiso88598i logical visual",
    "iso8859-9": "iso88599",
    "iso8859-15": "iso885915 csisolatin9",
    "koi8-r": "koi koi8",
    "koi8-u": "koi8_u koi8_ru",
    "koi8-t": "koi8_t",
    "mac-roman": "mac csmacintosh",
    "mac-cyrillic": "mac_ukrainian",
    "mac-latin2": "mac_centraleurroman mac_ce",
    "windows-1252": "iso88591",
    "cp720": "cp720",
    "cp737": "cp737 ibm737",
    "cp874": "cp874 dos_874",
    "cp932": "31j",
    "cp949": "cseuckr csksc56011987 iso_ir_149 ks_c_5601_1989 ksc_5601",
    "euc_jp": "cseucpkdfmtjapanese",
    "gb18030": "csgb2312 gb_2312 gb_2312_80",
    "big5hkscs": "cn_big5",
}
_MORE_NAMES: Final[Mapping[str, str]] = {label: name for name, labels in _LABELS.items() for label in labels.split()}
"""Names that browsers know and Python does not; those of `x-…` and `windows-…` stand under what follows."""
_PREFIXES = re.compile(r"(?:x_)*+(?:windows_(?=\d))?")


def codec_of(name: str) -> str | None:
    """Python's name of an encoding; None for what is none. UTF-7 is none, as on the web."""
    asked = encodings.normalize_encoding(name[:50]).lower()
    short = _PREFIXES.sub("", asked, count=1)
    for wanted in (asked, short, f"cp{short}"):
        if wanted in _KNOWN:
            return _known(wanted)
        if wanted in _MORE_NAMES:
            return _MORE_NAMES[wanted]
    return None


def _known(name: str) -> str | None:
    try:
        found = codecs.lookup(name).name
    except LookupError:
        return None
    return None if found == "utf-7" else _MEANT.get(found, found)
