"""What every program here does: hold its conversations, and print what came of each as JSON."""

import asyncio
import inspect
import json
import sys
import traceback
from dataclasses import dataclass

HELLO = "Say hello."
SUM = "Use add with a=17 and b=25"
STORY = "Tell me a story."
NOBODY = "nobody/nothing"
LABEL = "adder"


@dataclass(frozen=True)
class Place:
    """Where a model and a server of tools are, and a service (`slow_url`) whose stories never end."""

    dialect: str
    url: str
    model: str
    mcp_url: str
    slow_url: str
    slow_model: str


async def held(conversations):
    given = json.loads(sys.argv[1])
    told = {}
    for dialect in sys.argv[2:]:
        told[dialect] = {}
        for feature, conversation in conversations.items():
            try:
                seen = conversation(Place(dialect, **given))
                told[dialect][feature] = await seen if inspect.isawaitable(seen) else seen
            except Exception:
                told[dialect][feature] = {"failed": traceback.format_exc()[-3000:]}
    return told


def hold(conversations):
    """Hold each of them, plain or async, in each dialect that is asked for; they give what they saw."""
    sys.stdout.write(json.dumps(asyncio.run(held(conversations))) + "\n")
