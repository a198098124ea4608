"""The grammar against the OpenAPI document: what the one calls otherwise than the other would try nothing, and nobody would see it."""

from typing import Any, cast

from orchestrator.api.openapi import openapi_document
from tests.fuzz.grammar import PATH_VALUES, QUERY_VALUES
from tests.fuzz.wire_bodies import MORE, NEEDED

DOCUMENT: dict[str, Any] = openapi_document()
PATHS = cast("dict[str, dict[str, Any]]", DOCUMENT["paths"])


def documented_bodies() -> dict[str, tuple[set[str], set[str]]]:
    """What the body of each route must have, and what it may have, by the document."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for path, methods in PATHS.items():
        if "requestBody" in methods.get("post", {}):
            reference: str = methods["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            schema = DOCUMENT["components"]["schemas"][reference.rpartition("/")[2]]
            found[path] = set(schema.get("required", ())), set(schema["properties"])
    return found


def test_every_route_with_a_body_gets_one_of_its_own_fields() -> None:
    documented = documented_bodies()
    assert set(NEEDED) == set(documented)
    missing = {
        path: needed - set(NEEDED[path]) for path, (needed, _) in documented.items() if needed - set(NEEDED[path])
    }
    unknown = {
        path: gone for path, (_, may) in documented.items() if (gone := {*NEEDED[path], *MORE.get(path, {})} - may)
    }
    assert (missing, unknown, set(MORE) - set(NEEDED)) == ({}, {}, set())


def test_every_name_of_a_query_and_of_a_place_in_a_path_is_the_documents() -> None:
    parameters = [
        one for methods in PATHS.values() for operation in methods.values() for one in operation.get("parameters", ())
    ]
    queries = {one["name"] for one in parameters if one["in"] == "query"}
    places = {one["name"] for one in parameters if one["in"] == "path"}
    assert (set(QUERY_VALUES) - queries, set(PATH_VALUES) ^ places) == (set(), set())
