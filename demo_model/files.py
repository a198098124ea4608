"""Where the parts of the recipe lie."""

from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
TOKENIZER: Final = HERE / "tokenizer.json"
TEMPLATE: Final = HERE / "template.jinja"
CHECKPOINT: Final = HERE / "checkpoint" / "tiny-tools.pt"
EVALUATION_SETS: Final = HERE / "evaluation" / "sets"
SHIPPED_MODEL: Final = (
    HERE.parent / "orchestrator" / "engines" / "llama_cpp" / "bundled" / "demo" / "tiny-tools" / "tiny-tools-q8_0.gguf"
)
