"""What such a server is sent beside the fields that each of them understands."""

from orchestrator.core.commands import Generate
from orchestrator.core.json_types import JsonObject
from orchestrator.core.models import ReasoningSupport
from orchestrator.core.request import ReasoningSetting
from orchestrator.engines.openai_request import wire_response_format, wire_tool_choice


def extras(request: Generate, reasoning: ReasoningSupport | None) -> JsonObject:
    """What is sent only when it is asked for: calls and formats in OpenAI's form, and what is outside of its fields.

    `top_k` and `min_p` have one name everywhere; the repetition penalty is `repeat_penalty` for llama-server and
    `repetition_penalty` for vLLM and SGLang, and each ignores the other's.
    """
    found = wire_tool_choice(request)
    if request.response_format is not None:
        found |= wire_response_format(request.response_format)
    if request.sampling.repeat_penalty is not None:
        found["repetition_penalty"] = request.sampling.repeat_penalty
    return found | _reasoning(request.reasoning, reasoning)


def _reasoning(setting: ReasoningSetting | None, support: ReasoningSupport | None) -> JsonObject:
    """What has a model reason as asked. `on` among its options is a switch in its template, levels are OpenAI's field.

    OpenAI's word for `off` is an effort of `none`; servers with a switch may know only that, or only this.
    """
    if setting is None:
        return {}
    switch = setting in ("off", "on") if support is None else "on" in support.allowed_options
    told: JsonObject = {"chat_template_kwargs": {"enable_thinking": setting != "off"}} if switch else {}
    if setting != "on":
        told["reasoning_effort"] = "none" if setting == "off" else setting
    return told
