"""What is known of a model."""

from dataclasses import asdict

from orchestrator.core.models import LoadConfig, LoadSettings, Model, ModelInstance


def test_what_an_engine_does_not_tell_is_unknown_and_never_guessed() -> None:
    model = Model("ada/a", "scripted", "llm", "ada", "A", loaded_instances=(ModelInstance("ada/a", LoadConfig()),))
    told = {name: value for name, value in asdict(model).items() if value}
    (instance,) = told.pop("loaded_instances")
    assert told == {"key": "ada/a", "engine": "scripted", "type": "llm", "publisher": "ada", "display_name": "A"}
    assert set(instance["config"].values()) == {None}


def test_what_can_be_asked_of_a_load_can_be_told_of_an_instance() -> None:
    assert asdict(LoadSettings()).keys() == asdict(LoadConfig()).keys()
