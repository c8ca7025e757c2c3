"""What self-hosted models think before their answer, in the forms in which servers leave it there."""

import pytest

from pipelines.llm.thoughts import without_thoughts


@pytest.mark.parametrize(
    "text",
    [
        "the answer",
        "<think>hm</think>the answer",
        "\n<think>hm</think>\n\nthe answer",
        "<think>hm</think>\n<think>and again</think>\nthe answer",
        "<thinking>hm</thinking>\nthe answer",
        "[THINK]hm[/THINK]the answer",
        "<seed:think>hm</seed:think>the answer",
        # the opening mark stood in the prompt
        "Okay, what is asked?\nSo be it.\n</think>\n\nthe answer",
        "Okay.</think>\r\nthe answer",
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>the answer<|return|>",
        "<|channel|>final<|message|>the answer",
    ],
)
def test_thoughts_are_left_out(text: str) -> None:
    assert without_thoughts(text) == "the answer"


@pytest.mark.parametrize(
    "text", ["<think>and on and on", "Okay.\n</think>", "[THINK]hm", "<|channel|>analysis<|message|>hm<|end|>"]
)
def test_thoughts_alone_are_no_answer(text: str) -> None:
    assert without_thoughts(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "Models close their thoughts with </think> before they answer.",
        "They write:\n<think>\nhm\n</think>\nand then the answer.",
        "[THINKING] is no mark.",
    ],
)
def test_an_answer_about_such_marks_is_kept(text: str) -> None:
    assert without_thoughts(text) == text
