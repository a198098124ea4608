"""`/v1/models` as Anthropic's clients know it."""

from dataclasses import replace
from typing import Any

import anthropic
import pytest

from orchestrator.core.models import Model
from orchestrator.testing import SCRIPTED_MODEL, ScriptedEngine
from tests.api.anthropic_messages.clients import anthropic_house, told

pytestmark = pytest.mark.anyio


class ManyModels(ScriptedEngine):
    """Five models that write, of which one key is another engine's too, and one that embeds."""

    async def models(self) -> list[Model]:
        model = self.model
        named = [replace(model, key=f"m/{number}", display_name=f"M {number}") for number in range(4)]
        return [*named, replace(named[3], engine="other"), replace(model, key="m/embed", type="embedding")]


IDS = ["m/0", "m/1", "m/2", "m/3", "other::m/3"]


async def test_models_are_listed_and_shown_as_anthropics_clients_know_them() -> None:
    async with anthropic_house() as (_, client):
        listed = [told(model) async for model in client.models.list()]
        one = told(await client.models.retrieve(SCRIPTED_MODEL))
        beta = [told(model) async for model in client.beta.models.list()]
    assert listed == beta == [one]
    assert one == {
        "id": SCRIPTED_MODEL,
        "type": "model",
        "display_name": "Scripted",
        "created_at": "1970-01-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": 4096,
        "max_tokens": 4096,
    }


async def test_pages_follow_each_other_in_both_directions() -> None:
    async with anthropic_house(ManyModels([])) as (_, client):
        forward = [model.id async for model in client.models.list(limit=2)]
        first = await client.models.list(limit=2)
        rest = await client.models.list(limit=10, after_id="m/1")
        before = await client.models.list(limit=2, before_id="other::m/3")
        start = await client.models.list(limit=2, before_id="m/2")
        backward = [model.id async for model in before]
        none = await client.models.list(after_id="other::m/3")
        active = await client.models.list(lifecycle=["retired", "active"])
        retired = await client.models.list(lifecycle=["retired", "deprecated"])

    def page(one: Any) -> Any:
        return [model.id for model in one.data], one.first_id, one.last_id, one.has_more

    assert forward == IDS
    assert page(first) == (["m/0", "m/1"], "m/0", "m/1", True)
    assert page(rest) == (["m/2", "m/3", "other::m/3"], "m/2", "other::m/3", False)
    assert page(before) == (["m/2", "m/3"], "m/2", "m/3", True)
    assert page(start) == (["m/0", "m/1"], "m/0", "m/1", False)
    assert sorted(backward) == IDS[:4]
    assert page(active) == (IDS, IDS[0], IDS[-1], False)
    assert page(none) == page(retired) == ([], None, None, False)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ({"limit": 0}, "'limit' must be a whole number from 1 to 1000."),
        ({"limit": 1001}, "'limit' must be a whole number from 1 to 1000."),
        ({"after_id": "m/nine"}, '"after_id" is the id of no model in the list.'),
        ({"before_id": "m/embed"}, '"before_id" is the id of no model in the list.'),
        ({"before_id": "m/1", "after_id": "m/0"}, "\"before_id\" and 'after_id' exclude each other."),
    ],
)
async def test_what_is_no_page_is_refused_in_anthropics_envelope(query: dict[str, Any], problem: str) -> None:
    async with anthropic_house(ManyModels([])) as (_, client):
        with pytest.raises(anthropic.BadRequestError) as caught:
            await client.models.list(**query)
    error: Any = caught.value
    assert error.body["type"] == "error"
    assert error.body["error"]["type"] == "invalid_request_error"
    assert problem in error.body["error"]["message"]
    assert error.request_id == error.body["request_id"]


async def test_errors_of_models_are_told_in_the_dialect_of_who_asks() -> None:
    async with anthropic_house() as (api, client):
        with pytest.raises(anthropic.NotFoundError) as caught:
            await client.models.retrieve("m/nine")
        said = (await api.client.get("/v1/models/m/nine")).json()
        other = (await api.client.get("/v1/modelsmith", headers={"anthropic-version": "2023-06-01"})).json()
        crossed = await api.client.get(
            "/v1/models", headers={"anthropic-version": "2023-06-01", "Origin": "https://evil.example"}
        )
    error: Any = caught.value
    assert error.body["error"] == {"type": "not_found_error", "message": "model: The model 'm/nine' does not exist."}
    assert said["error"]["code"] == "model_not_found"
    assert set(other) == {"error"}
    assert (crossed.status_code, crossed.json()["error"]["type"]) == (403, "permission_error")
