"""Changes of `mcp.json` are noticed, however an editor, a person or a mount makes them."""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
import watchfiles
from structlog.testing import capture_logs

from orchestrator.integrations.mcp_config import McpConfigFiles, config_layers
from orchestrator.integrations.mcp_config_watch import ConfigWatcher
from orchestrator.integrations.mcp_json import StdioServer

pytestmark = pytest.mark.anyio
NOTICE_SECONDS = 20


def servers(*labels: str) -> str:
    return json.dumps({"mcpServers": {label: {"command": "x"} for label in labels}})


class Watched:
    """A user's file that is not there and a project's, watched."""

    def __init__(self, folder: Path) -> None:
        self.user, self.project = folder / "config" / "orchestrator" / "mcp.json", folder / "project" / "mcp.json"
        self.files = McpConfigFiles(config_layers(self.user, [self.project], [], project_required=False), environ={})
        self._changed = anyio.Event()

    @property
    def labels(self) -> list[str]:
        return [plugin.label for plugin in self.files.config.plugins]

    def changed(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until it holds, at most for so long."""
        with anyio.fail_after(NOTICE_SECONDS):
            while not holds():
                with anyio.move_on_after(0.05):
                    await self._changed.wait()


@asynccontextmanager
async def watched(folder: Path) -> AsyncGenerator[Watched]:
    world = Watched(folder)
    world.project.parent.mkdir(exist_ok=True)
    if not world.project.is_symlink():
        world.project.write_text(servers("one"))
    world.files.load()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ConfigWatcher(world.files, world.changed).run)
        await world.until(lambda: world.files.watched)
        yield world
        with anyio.fail_after(5):  # it ends as soon as it is told to
            tasks.cancel_scope.cancel()
            await anyio.lowlevel.checkpoint()


def by_writing(path: Path) -> None:
    path.write_text(servers("two"))


def by_renaming(path: Path) -> None:
    new = path.with_name(".mcp.json.swp")
    new.write_text(servers("two"))
    new.rename(path)


def by_moving_it_away_first(path: Path) -> None:
    path.rename(path.with_name("mcp.json~"))
    path.write_text(servers("two"))


def in_two_steps(path: Path) -> None:
    text = servers("two")
    path.write_text(text[:9])
    with path.open("a") as file:
        file.write(text[9:])


@pytest.mark.parametrize("edit", [by_writing, by_renaming, by_moving_it_away_first, in_two_steps])
async def test_an_edit_is_noticed_however_it_is_made(tmp_path: Path, edit: Callable[[Path], None]) -> None:
    with capture_logs() as logged:
        async with watched(tmp_path) as world:
            for _ in range(2):
                edit(world.project)
                await world.until(lambda: world.labels == ["two"])
                world.project.write_text(servers("one"))
                await world.until(lambda: world.labels == ["one"])
    assert logged == []


async def test_a_file_that_appears_with_its_folders_is_noticed_and_its_end_too(tmp_path: Path) -> None:
    async with watched(tmp_path) as world:
        for _ in range(2):
            world.user.parent.mkdir(parents=True)
            world.user.write_text(servers("mine"))
            await world.until(lambda: world.labels == ["mine", "one"])
            world.user.unlink()
            world.user.parent.rmdir()
            world.user.parent.parent.rmdir()
            await world.until(lambda: world.labels == ["one"])


async def test_the_target_of_a_link_is_watched_and_so_is_where_it_leads(tmp_path: Path) -> None:
    """As dotfile tools link a file, and Kubernetes a folder of a ConfigMap."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        (folder / "mcp.json").write_text(servers(folder.name))
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "data").symlink_to(first)
    (tmp_path / "project" / "mcp.json").symlink_to("data/mcp.json")
    async with watched(tmp_path) as world:
        assert world.labels == ["first"]
        (first / "mcp.json").write_text(servers("edited"))
        await world.until(lambda: world.labels == ["edited"])
        (tmp_path / "project" / "new").symlink_to(second)
        (tmp_path / "project" / "new").rename(tmp_path / "project" / "data")
        await world.until(lambda: world.labels == ["second"])


async def test_a_broken_edit_is_told_once_and_mended_by_the_next(tmp_path: Path) -> None:
    with capture_logs() as logged:
        async with watched(tmp_path) as world:
            world.project.write_text("{oops")
            await world.until(lambda: world.files.state().error is not None)
            assert world.labels == ["one"]
            world.project.write_text(servers("two"))
            await world.until(lambda: world.labels == ["two"])
            assert world.files.state().error is None
    (line,) = logged
    assert (line["event"], line["log_level"]) == ("mcp.json cannot be used; what it last said still counts", "error")
    assert f"{world.project}: it is not valid JSON" in line["reason"]


async def test_what_changed_between_the_start_and_the_watch_is_not_missed(tmp_path: Path) -> None:
    world = Watched(tmp_path)
    world.project.parent.mkdir()
    world.files.load()
    world.project.write_text(servers("late"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ConfigWatcher(world.files, world.changed).run)
        await world.until(lambda: world.labels == ["late"])
        tasks.cancel_scope.cancel()


async def test_files_are_looked_at_from_time_to_time_where_the_system_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*paths: Path, **options: object) -> AsyncGenerator[None]:
        raise OSError("no space left on device: the limit of inotify watches")
        yield

    monkeypatch.setattr(watchfiles, "awatch", refuse)
    with capture_logs() as logged:
        async with watched(tmp_path) as world:
            world.project.write_text(servers("two"))
            await world.until(lambda: world.labels == ["two"])
    assert [line["event"] for line in logged] == [
        "changes of mcp.json are looked for from time to time: the system does not tell of them"
    ]


async def test_a_file_of_variables_is_watched_where_it_is_and_from_when_it_is_named(tmp_path: Path) -> None:
    keys = tmp_path / "elsewhere" / "keys.env"

    def env(world: Watched) -> object:
        (plugin,) = world.files.config.plugins
        return plugin.server.env if isinstance(plugin.server, StdioServer) else None

    async with watched(tmp_path) as world:
        named = {"x": {"command": "x", "envFile": str(keys)}}
        world.project.write_text(json.dumps({"mcpServers": named}))
        await world.until(lambda: world.labels == ["x"] and env(world) is None)
        keys.parent.mkdir()
        keys.write_text("KEY=first")
        await world.until(lambda: env(world) == {"KEY": "first"})
        keys.write_text("KEY=second one")
        await world.until(lambda: env(world) == {"KEY": "second one"})
