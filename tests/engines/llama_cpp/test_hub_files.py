"""Which files a link means: the names that people give their repositories, and what cannot be told apart."""

import pytest

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.engines.llama_cpp.hub_files import HubFile, HubLink, choose_files, label_of, parse_link

REPOSITORY = HubLink("ada/model", None, "", True)


def files(*paths: str) -> list[HubFile]:
    return [HubFile(path, 1, "00") for path in paths]


def chosen(paths: list[str], quantization: str | None = None, path: str = "") -> list[str]:
    link = HubLink("ada/model", None, path, True)
    return [file.path for file in choose_files(files(*paths), link, quantization)]


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("https://huggingface.co/ada/model-GGUF", HubLink("ada/model-GGUF", None, "", True)),
        ("http://www.huggingface.co/ada/m.1_x/", HubLink("ada/m.1_x", None, "", True)),
        ("hf.co/ada/model", HubLink("ada/model", None, "", False)),
        ("https://hf.co/ada/model?library=gguf#files", HubLink("ada/model", None, "", True)),
        ("https://huggingface.co/ada/model/tree/main", HubLink("ada/model", "main", "", True)),
        ("https://huggingface.co/ada/model/tree/refs%2Fpr%2F1/Q8_0", HubLink("ada/model", "refs/pr/1", "Q8_0", True)),
        (
            "https://huggingface.co/ada/model/resolve/main/a%20b.gguf?download=true",
            HubLink("ada/model", "main", "a b.gguf", True),
        ),
        ("https://huggingface.co/ada", None),
        ("https://huggingface.co/../etc", None),
        ("https://huggingface.co/ada/model/discussions/1", None),
        ("https://evil.example/huggingface.co/ada/model", None),
        ("hf.co/ada/model:Q4_K_M", None),
        ("qwen3:8b", None),
        ("ada/model", None),
    ],
)
def test_a_link_leads_to_a_repository_of_the_hub_or_is_none(text: str, link: HubLink | None) -> None:
    assert parse_link(text) == link


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("Qwen3-8B-Q4_K_M.gguf", "Q4_K_M"),
        ("model.q8_0.gguf", "Q8_0"),
        ("gpt-oss-20b-MXFP4.gguf", "MXFP4"),
        ("m-UD-IQ1_S.gguf", "UD-IQ1_S"),
        ("m-f16.gguf", "F16"),
        ("BF16/m-00001-of-00002.gguf", "BF16"),
        ("m-Q6_K-00001-of-00002.gguf", "Q6_K"),
        ("Q2-model.gguf", "Q2"),
        ("model.gguf", ""),
        ("Qwen3.gguf", ""),
    ],
)
def test_the_quantization_is_read_from_the_file_name_or_its_folder(path: str, label: str) -> None:
    assert label_of(path) == label


def test_without_a_quantization_four_bits_are_taken_or_what_is_nearest() -> None:
    assert chosen(["m-F16.gguf", "m-Q4_K_M.gguf", "m-Q8_0.gguf"]) == ["m-Q4_K_M.gguf"]
    assert chosen(["m-F16.gguf", "m-Q8_0.gguf", "m-IQ1_S.gguf"]) == ["m-Q8_0.gguf"]
    assert chosen(["model.gguf", "README.md"]) == ["model.gguf"]


def test_a_quantization_is_that_and_not_one_that_ends_alike() -> None:
    paths = ["m-Q4_K_XL.gguf", "m-UD-Q4_K_XL.gguf", "m-IQ4_XS.gguf"]
    assert chosen(paths, "q4_k_xl") == ["m-Q4_K_XL.gguf"]
    assert chosen(paths, "UD-Q4_K_XL") == ["m-UD-Q4_K_XL.gguf"]


def test_the_link_of_a_file_or_a_folder_is_kept_to() -> None:
    paths = ["a-7b-Q8_0.gguf", "a-14b-Q8_0.gguf", "old/a-7b-Q8_0.gguf"]
    assert chosen(paths, None, "a-14b-Q8_0.gguf") == ["a-14b-Q8_0.gguf"]
    assert chosen(paths, "Q8_0", "old") == ["old/a-7b-Q8_0.gguf"]


def test_parts_come_in_order_and_a_model_that_lacks_one_is_not_there() -> None:
    parts = [f"m-Q8_0-0000{n}-of-00003.gguf" for n in (3, 1, 2)]
    assert chosen(parts, "Q8_0") == sorted(parts)
    with pytest.raises(OrchestratorError) as caught:
        chosen(parts[:2], "Q8_0")
    assert caught.value.info.param == "model"


def test_an_image_projector_comes_along_in_half_precision_where_there_is_one() -> None:
    assert chosen(["m-Q8_0.gguf", "mmproj-BF16.gguf", "mmproj-F16.gguf"]) == ["m-Q8_0.gguf", "mmproj-F16.gguf"]


@pytest.mark.parametrize(
    ("paths", "quantization", "param", "said"),
    [
        (["model.safetensors"], None, "model", "no GGUF file"),
        (["mmproj-F16.gguf"], None, "model", "no GGUF file"),
        (["m-Q8_0.gguf", "m-Q4_0.gguf"], "Q5_K_M", "quantization", "only: Q4_0, Q8_0"),
        (["a-Q8_0.gguf", "b-Q8_0.gguf"], "Q8_0", "model", "a-Q8_0.gguf, b-Q8_0.gguf"),
    ],
)
def test_what_cannot_be_chosen_is_refused_with_what_there_is(
    paths: list[str], quantization: str | None, param: str, said: str
) -> None:
    with pytest.raises(OrchestratorError) as caught:
        choose_files(files(*paths), REPOSITORY, quantization)
    info = caught.value.info
    assert (info.kind, info.param) == (ErrorKind.INVALID_VALUE, param)
    assert said in info.message
