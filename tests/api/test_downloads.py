"""Downloads over HTTP: what goes in, what comes out, in LM Studio's words and with ours beside them."""

from typing import Any

import anyio
import anyio.lowlevel
import httpx
import jsonschema_rs
import pytest

from orchestrator.api.downloads import DOWNLOAD_PATH
from orchestrator.core.errors import ErrorKind, OrchestratorError
from tests.api.house import House, house
from tests.api.test_openapi import validator

pytestmark = pytest.mark.anyio


async def begin(api: House, model: str = "scripted/a", **body: Any) -> httpx.Response:
    return await api.client.post(DOWNLOAD_PATH, json={"model": model, **body})


async def until(api: House, job_id: str, state: str) -> dict[str, Any]:
    """The job's status once it is in `state`."""
    with anyio.fail_after(5):
        while True:
            await anyio.lowlevel.checkpoint()  # asking in process never gives way by itself
            told = (await api.client.get(f"{DOWNLOAD_PATH}/status/{job_id}")).json()
            if told["state"] == state:
                assert valid("DownloadStatusReply", told)
                return told


def valid(schema: str, told: Any) -> bool:
    found: jsonschema_rs.Validator = validator(schema)
    return found.is_valid(told)


async def test_a_download_is_a_job_that_tells_how_it_is_until_it_is_done() -> None:
    async with house() as api:
        reply = (await begin(api)).json()
        assert valid("DownloadReply", reply)
        job_id, started = reply["job_id"], reply["started_at"]
        assert reply == {
            "job_id": job_id,
            "status": "downloading",
            "total_size_bytes": 100,
            "started_at": started,
            "state": "queued",
        }
        assert job_id.removeprefix("job_").isalnum() and len(job_id) == 14 and started.endswith("Z")
        told = await until(api, job_id, "downloading")
        assert told == reply | {
            "state": "downloading",
            "downloaded_bytes": 0,
            "bytes_per_second": 0.0,
            "model": "scripted/a",
            "owner": "local",
        }
        api.downloader.allow(100)
        done = await until(api, job_id, "completed")
        assert done == reply | {
            "status": "completed",
            "state": "completed",
            "downloaded_bytes": 100,
            "completed_at": done["completed_at"],
            "model": "scripted/a",
            "owner": "local",
        }
        again = await begin(api)
    assert (again.status_code, again.json()) == (200, {"status": "already_downloaded"})
    assert valid("DownloadReply", again.json())


async def test_a_download_is_paused_resumed_and_cancelled() -> None:
    async with house() as api:
        api.downloader.allow(40)
        job_id = (await begin(api)).json()["job_id"]
        await until(api, job_id, "downloading")
        told: list[tuple[str, str]] = []
        for action in ("pause", "pause", "resume", "cancel", "cancel"):
            response = await api.client.post(f"{DOWNLOAD_PATH}/{job_id}/{action}")
            assert response.status_code == 200
            assert valid("DownloadStatusReply", response.json())
            told.append((response.json()["status"], response.json()["state"]))
        refused = await api.client.post(f"{DOWNLOAD_PATH}/{job_id}/resume")
    assert told == [
        ("paused", "paused"),
        ("paused", "paused"),
        ("downloading", "queued"),
        ("failed", "cancelled"),
        ("failed", "cancelled"),
    ]
    assert refused.status_code == 400
    assert refused.json()["error"] == {
        "type": "invalid_request",
        "code": "invalid_value",
        "param": "job_id",
        "message": f"The download '{job_id}' is cancelled: it cannot be resumed any more.",
    }


async def test_why_a_download_failed_is_told_in_the_words_of_the_error_table() -> None:
    async with house() as api:
        api.downloader.fail = OrchestratorError(ErrorKind.ENGINE_UNAVAILABLE, "The hub is gone.")
        told = await until(api, (await begin(api)).json()["job_id"], "failed")
    assert (told["status"], told["error"]) == (
        "failed",
        {"type": "internal_error", "code": "engine_unavailable", "message": "The hub is gone."},
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/status/job_0123456789"),
        ("POST", "/job_0123456789/pause"),
        ("POST", "/job_0123456789/resume"),
        ("POST", "/job_0123456789/cancel"),
    ],
)
async def test_a_job_that_is_not_there_is_a_404_of_its_own_type(method: str, path: str) -> None:
    async with house() as api:
        response = await api.client.request(method, DOWNLOAD_PATH + path)
    assert (response.status_code, response.json()) == (
        404,
        {
            "error": {
                "type": "job_not_found",
                "message": "There is no download 'job_0123456789'.",
                "param": "job_id",
            }
        },
    )


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_required_parameter", "model"),
        ({"model": 5}, "invalid_type", "model"),
        ({"model": ""}, "invalid_value", "model"),
        ({"model": "elsewhere"}, "invalid_value", "model"),
        ({"model": "scripted/a", "quantization": 4}, "invalid_type", "quantization"),
        ({"model": "scripted/a", "quantisation": "Q4"}, "unrecognized_keys", "quantisation"),
    ],
)
async def test_what_cannot_be_downloaded_is_refused_by_the_field_to_blame(
    body: dict[str, Any], code: str, param: str
) -> None:
    async with house() as api:
        response = await api.client.post(DOWNLOAD_PATH, json=body)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, code, param)


async def test_downloads_need_the_permission_to_manage_models() -> None:
    async with house(require_authentication=True) as api:
        _, reader = await api.tokens.create_token("reader", ["models.read", "chat"])
        _, keeper = await api.tokens.create_token("keeper", ["models.manage"])
        answers: dict[str, list[int]] = {}
        for name, headers in (
            ("nobody", {}),
            ("reader", {"Authorization": f"Bearer {reader}"}),
            ("keeper", {"Authorization": f"Bearer {keeper}"}),
        ):
            asked = [
                await api.client.post(DOWNLOAD_PATH, json={"model": "scripted/a"}, headers=headers),
                await api.client.get(f"{DOWNLOAD_PATH}/status/job_0", headers=headers),
                *[
                    await api.client.post(f"{DOWNLOAD_PATH}/job_0/{action}", headers=headers)
                    for action in ("pause", "resume", "cancel")
                ],
            ]
            answers[name] = [response.status_code for response in asked]
    assert answers == {"nobody": [401] * 5, "reader": [403] * 5, "keeper": [200, 404, 404, 404, 404]}


async def test_downloads_are_listed_the_newest_first() -> None:
    async with house() as api:
        first = (await begin(api)).json()["job_id"]
        second = (await begin(api, "scripted/b")).json()["job_id"]
        told = (await api.client.get(DOWNLOAD_PATH)).json()
    assert {job["job_id"]: job["model"] for job in told["jobs"]} == {first: "scripted/a", second: "scripted/b"}
    assert valid("DownloadList", told)
