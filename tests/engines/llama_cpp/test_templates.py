"""What the names in a chat template tell of its model."""

import pytest

from orchestrator.core.json_types import JsonObject
from orchestrator.core.models import ReasoningSupport
from orchestrator.core.request import ReasoningSetting
from orchestrator.engines.llama_cpp.gguf import read_gguf
from orchestrator.engines.llama_cpp.templates import is_trained_for_tool_use, reasoning_support, template_arguments
from tests.engines.llama_cpp.conftest import DEMO_FILE


@pytest.mark.parametrize(
    ("template", "renders_tools"),
    [
        (None, False),
        ("{{ messages }}", False),
        ("Use tools wisely. {{ messages }}", False),
        ("{%- if tools %}{{ tools | tojson }}{%- endif %}", True),
        ("{%- for tool in tools -%}x{%- endfor %}", True),
        ("{{ message.tools }} {{ 'tools' }} {{ my_tools }}", False),
    ],
)
def test_a_model_was_trained_for_tools_where_its_template_renders_them(
    template: str | None, renders_tools: bool
) -> None:
    assert is_trained_for_tool_use(template) is renders_tools


@pytest.mark.parametrize("template", [None, "{{ messages }}", "enable_thinking is off {{ messages }}"])
def test_a_template_without_the_switch_offers_no_reasoning_settings(template: str | None) -> None:
    assert reasoning_support(template) is None


@pytest.mark.parametrize(
    ("template", "default"),
    [
        ("{%- if enable_thinking %}<think>{%- endif %}", "off"),
        ("{%- if enable_thinking is defined and enable_thinking %}<think>{%- endif %}", "off"),
        ("{%- if not enable_thinking %}<think></think>{%- endif %}", "off"),
        ("{%- set t = enable_thinking | default(false) %}", "off"),
        ("{%- if enable_thinking is defined and enable_thinking is false %}<think></think>{%- endif %}", "on"),
        ("{%- if enable_thinking is defined and not enable_thinking %}<think></think>{%- endif %}", "on"),
        ("{%- if enable_thinking is false %}<think></think>{%- endif %}", "on"),
        ("{%- if enable_thinking == false %}<think></think>{%- endif %}", "on"),
        ("{%- if enable_thinking is not defined or enable_thinking %}<think>{%- endif %}", "on"),
        ("{%- if enable_thinking is not defined %}{%- set enable_thinking = true %}{%- endif %}", "on"),
        ("{%- if not enable_thinking is defined -%}{%- set enable_thinking = true -%}{%- endif %}", "on"),
        ("{%- set t = enable_thinking | default(true) %}", "on"),
        ("{%- set t = enable_thinking if enable_thinking is defined else true %}", "on"),
    ],
)
def test_the_default_is_what_the_template_does_unasked(template: str, default: str) -> None:
    support = reasoning_support(template)
    assert support is not None
    assert (support.allowed_options, support.default) == (("off", "on"), default)


LEVELS: tuple[ReasoningSetting, ...] = ("low", "medium", "high")
EFFORT = ReasoningSupport(LEVELS, "high")
SWITCH = ReasoningSupport(("off", "on"), "on")
BOTH = ReasoningSupport(("off", *LEVELS, "on"), "off")


@pytest.mark.parametrize(
    ("template", "support"),
    [
        ("{%- if reasoning_effort is not defined %}{%- set reasoning_effort = 'high' %}{%- endif %}", EFFORT),
        ('{{ reasoning_effort | default("low") }}', ReasoningSupport(LEVELS, "low")),
        ("Reasoning: {{ reasoning_effort }}", ReasoningSupport(LEVELS, "medium")),
        ("{%- if enable_thinking %}{{ reasoning_effort }}{%- endif %}", BOTH),
    ],
)
def test_a_template_that_knows_an_effort_offers_its_levels(template: str, support: ReasoningSupport) -> None:
    assert reasoning_support(template) == support


@pytest.mark.parametrize(
    ("support", "asked", "told"),
    [
        (None, None, {}),
        (SWITCH, None, {"enable_thinking": True}),
        (SWITCH, "off", {"enable_thinking": False}),
        (EFFORT, None, {"reasoning_effort": "high"}),
        (EFFORT, "low", {"reasoning_effort": "low"}),
        (BOTH, None, {"enable_thinking": False}),
        (BOTH, "on", {"enable_thinking": True}),
        (BOTH, "medium", {"enable_thinking": True, "reasoning_effort": "medium"}),
    ],
)
def test_a_setting_becomes_what_the_template_reads(
    support: ReasoningSupport | None, asked: ReasoningSetting | None, told: JsonObject
) -> None:
    assert template_arguments(support, asked) == told


def test_the_demo_model_calls_tools_and_reasons_when_asked() -> None:
    template = read_gguf(DEMO_FILE).chat_template
    assert is_trained_for_tool_use(template)
    assert reasoning_support(template) == ReasoningSupport(("off", "on"), "off")
