"""The markup by which chat templates part messages, made plain in texts that are data.

Engines read it in whatever stands in a prompt: a tool that answers `<|im_end|>` ends its own message, and what follows
passes for one of the user's or of the system's. Made plain it says the same to a reader and nothing to a tokenizer. Every
change is of one character for another, so that lengths and offsets stay. Nothing is promised of what the text says.
"""

import re
from typing import Final

_MARKUP: Final = re.compile(
    r"<(?:\|[\w.:/-]{1,40}\||\uff5c[^<>]{1,40}\uff5c)>"  # ChatML, Llama 3, Phi, GLM, gpt-oss; DeepSeek
    r"|</?(?:start_of_turn|end_of_turn|tool_call|tool_response|tool_result|think|s|bos|eos)>"  # Gemma, Qwen, Llama 2
    r"|<<(?:SYS|/SYS)>>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|ARGS|THINK)\]",  # Mistral
    re.IGNORECASE,
)
_PLAIN: Final = str.maketrans("<>[]", "()()")


def plain_markup(text: str) -> str:
    """`text` with the brackets of such markup round; as long as before."""
    return _MARKUP.sub(lambda found: found[0].translate(_PLAIN), text)
