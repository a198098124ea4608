"""What every program here does: hold its conversations, and print what came of each as JSON."""

import asyncio
import inspect
import json
import sys
import traceback
from dataclasses import dataclass, fields

HELLO = "Say hello."
SUM = "Use add with a=17 and b=25"
STORY = "Tell me a story."
PICTURE = "What is this?"
PUZZLE = "Solve it."
FIRST = "What did I say first?"
COLOUR = "Name a colour."
COLOURS = {
    "type": "object",
    "properties": {"colour": {"type": "string", "enum": ["red", "green"]}},
    "required": ["colour"],
    "additionalProperties": False,
}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PNG_URL = f"data:image/png;base64,{PNG}"
NOBODY = "nobody/nothing"
WRONG_KEY = "sk-wrong"
TOO_HOT = 9
LABEL = "adder"
TEXTS = ["four", "x"]


@dataclass(frozen=True)
class Place:
    """Where things are: a model and a server of tools, and the services over scripted engines. `word` is the program's own."""

    dialect: str
    word: str
    url: str
    model: str
    mcp_url: str
    scripted_url: str
    scripted_model: str
    guarded_url: str
    embedder_url: str
    embedder_model: str

    @property
    def my_word(self):
        return f"My word is {self.word}."


async def held(conversations):
    given = {
        name: value for name, value in json.loads(sys.argv[1]).items() if name in {it.name for it in fields(Place)}
    }
    told = {}
    for number, (dialect, features) in enumerate(json.loads(sys.argv[2]).items()):
        told[dialect] = {}
        for feature in features:
            place = Place(**given | {"dialect": dialect, "word": f"{given['word']}{number}"})
            try:
                seen = conversations[feature](place)
                told[dialect][feature] = await seen if inspect.isawaitable(seen) else seen
            except Exception:
                told[dialect][feature] = {"failed": traceback.format_exc()[-3000:]}
    return told


def hold(conversations):
    """Hold each that is asked for, plain or async, in each dialect; they give what they saw."""
    sys.stdout.write(json.dumps(asyncio.run(held(conversations))) + "\n")


def refused(error, status=None):
    """What the client made of a refusal."""
    return {"kind": type(error).__name__, "status": status or error.status_code, "says": str(error)}
