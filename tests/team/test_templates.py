"""What is accepted as a template is one that Semantic Kernel can read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semantic_kernel.template_engine.template_tokenizer import TemplateTokenizer

from magentic_kit.team.templates import Template

PIECES = ["{{", "}}", "{", "}", "$", "$a", "a", "b", ".", "a.b", "=", "a=", "'", '"', "\\", " ", "\n", "7*7", "^", "é"]
KNOWN = ["a", "b", "ab", "aa"]


def problems(text: str, *, has_functions: bool = True) -> list[str]:
    return list(Template(("task",), text, KNOWN, has_functions=has_functions).problems())


@pytest.mark.parametrize(
    "text",
    [
        "{{$a}}",
        "{{ $a }} and {{\n$b\n}}",
        "{{'text'}}",
        '{{"}} {{"}}',
        r"{{'it\'s'}}",
        "{{}} {{ }}",
        "{{{$a}}}",
        "plain { } text",
    ],
)
def test_what_every_template_may_hold(text: str) -> None:
    assert problems(text, has_functions=False) == []
    TemplateTokenizer.tokenize(text)


@pytest.mark.parametrize("text", ["{{f}}", "{{a.f}}", "{{a.f $a}}", "{{a.f 'x' b=$b}}", '{{a.f a="x" b=$b}}'])
def test_what_an_agents_template_may_hold_beside(text: str) -> None:
    assert problems(text) == []
    TemplateTokenizer.tokenize(text)
    assert problems(text, has_functions=False)


@pytest.mark.parametrize(
    "text", ["{{7*7}}", "{{$a-b}}", "{{$a b}}", "{{a.b.c}}", "{{f 'x' 'y'}}", "{{f b=7}}", "{{a b c}}"]
)
def test_what_no_template_holds(text: str) -> None:
    assert "cannot be filled in" in problems(text)[0]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_what_is_accepted_can_be_read_by_semantic_kernel(text: str) -> None:
    if not problems(text):
        TemplateTokenizer.tokenize(text)
