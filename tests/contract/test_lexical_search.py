"""What a lexical search finds, spelled in another way than it was written: on the engine in process and on the client's
local mode."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient

from core.ids import Prefix, random_id
from core.storage.vectors.bm25 import document_vector, query_vector
from core.storage.vectors.edge import EdgeVectorStore
from core.storage.vectors.server import ServerVectorStore
from core.storage.vectors.store import Point, VectorSearch, VectorStore

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")

OTHERS = ("Knead the dough and bake the bread.", "朝のパンを焼く", "오늘은 비가 온다")
FOUND = {
    "ligature": ("The ﬁle lies in the oﬃce", "file"),
    "ligature asked": ("The file lies in the office", "oﬃce"),
    "nfd text": ("Cafe\u0301 Müller", "Café"),
    "nfd query": ("Café Müller", "Cafe\u0301 "),
    "dotted i": ("İstanbul'da sabah", "istanbul"),
    "dotted i asked": ("istanbul'da sabah", "İSTANBUL"),
    "both i's": ("DİYARBAKIR kalesi", "diyarbakır"),
    "dotless i in capitals": ("ISPARTA gülü", "ısparta"),
    "sharp s": ("Die STRASSE ist lang", "Straße"),
    "sharp s written": ("Die Straße ist lang", "STRASSE"),
    "capital sharp s": ("GROẞE Freude", "große"),
    "final sigma": ("ΟΔΥΣΣΕΥΣ και Πηνελόπη", "Οδυσσευς"),
    "full width": ("ＫＥＹＳＴＡＧＥ ｖ１", "keystage"),
    "soft hyphen": ("co\u00adoperation of teams", "cooperation"),
    "zero-width joiner": ("می\u200cخواهم بروم", "میخواهم"),
    "roman numeral": ("Kapitel Ⅷ", "viii"),
    "devanagari": ("मैं हिन्दी पढ़ता हूँ", "हिन्दी"),
    "a word of japanese": ("東京都の天気予報", "天気"),
    "one character": ("私の猫です", "猫"),
    "one character alone": ("猫 と 犬", "犬"),
    "half-width kana": ("ﾃﾞｰﾀﾍﾞｰｽの設計", "データベース"),
    "half-width kana asked": ("データベースの設計", "ﾃﾞｰﾀ"),
    "latin inside": ("第12回Python入門講座", "入門"),
    "latin inside, asked": ("第12回Python入門講座", "python"),
    "digits inside": ("2026年の予算", "2026"),
    "chinese": ("我们在北京工作", "北京"),
    "compatibility ideograph": ("豈", "豈"),
    "korean particle": ("학교에서 공부한다", "학교"),
    "korean, one syllable": ("책을 읽는다", "책"),
    "korean nfd": ("\u1112\u1161\u11a8\u1100\u116d\u110b\u1166\u1109\u1165", "학교"),
    "thai": ("ภาษาไทยไม่มีช่องว่าง", "ภาษา"),
    "thai sara am": ("ดื่มน้ำทุกวัน", "น้ํา"),
    "lao": ("ພາສາລາວບໍ່ມີ", "ລາວ"),
    "khmer": ("ភាសាខ្មែរពិរោះ", "ខ្មែរ"),
    "myanmar": ("မြန်မာစာလှတယ်", "မြန်မာ"),
    "emoji": ("Shipped it 🎉 today", "🎉"),
    "emoji, another skin": ("Well done 👍🏽", "👍"),
    "emoji with a selector": ("I ❤️ it", "❤"),
    "part of a family": ("👨‍👩‍👧 at home", "👩"),
    "flag": ("Made in 🇩🇪🇫🇷", "🇫🇷"),
    "english stems": ("The keys are rotated", "rotating key"),
}
APART = {
    "an accent is a letter of its own": ("resume the upload", "résumé"),
    "letters of a flag": ("Made in 🇩🇪🇫🇷", "🇪🇫"),
    "the same characters in another order": ("気天", "天気"),
    "stop words": ("the of and", "the"),
}


@pytest.fixture(params=["edge", "local"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    """An empty store."""
    made: VectorStore = (
        EdgeVectorStore(tmp_path) if request.param == "edge" else ServerVectorStore(QdrantClient(":memory:"))
    )
    yield made
    made.close()  # type: ignore[attr-defined]  # both have it; nobody asks it of a store


def found(store: VectorStore, text: str, query: str) -> list[str]:
    """The texts that the query finds among `text` and others, best first."""
    namespace = random_id(Prefix.NAMESPACE)
    store.ensure(namespace, 1)
    store.upsert(
        namespace,
        [
            Point(
                str(uuid.UUID(int=number)),
                np.ones(1, np.float32),
                document_vector(one),
                {"namespace_id": namespace, "text": one},
            )
            for number, one in enumerate((*OTHERS, text))
        ],
    )
    return [hit.payload["text"] for hit in store.search(namespace, [VectorSearch(query_vector(query), 9)], 9)]


@pytest.mark.parametrize(("text", "query"), FOUND.values(), ids=FOUND)
def test_a_word_is_found_however_it_is_spelled(store: VectorStore, text: str, query: str) -> None:
    # the text that is shown is the author's own
    assert found(store, text, query)[:1] == [text]


@pytest.mark.parametrize(("text", "query"), APART.values(), ids=APART)
def test_what_is_another_word_is_not_found(store: VectorStore, text: str, query: str) -> None:
    assert text not in found(store, text, query)
