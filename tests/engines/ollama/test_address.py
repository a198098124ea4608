"""`OLLAMA_HOST`, in all its forms."""

import pytest

from orchestrator.engines.ollama.address import base_url, shown_address


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("gpu-box:8080", "http://gpu-box:8080"),
        (":8080", "http://127.0.0.1:8080"),
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("::1", "http://[::1]:11434"),
        ("[::]:8080", "http://[::1]:8080"),
        ("http://127.0.0.1:11434/", "http://127.0.0.1:11434"),
        ("http://gpu-box", "http://gpu-box:80"),
        ("https://gpu-box", "https://gpu-box:443"),
        ("https://user:a@b@gpu-box/ollama/", "https://user:a@b@gpu-box:443/ollama"),
    ],
)
def test_a_host_stands_for_the_url_that_ollamas_own_tools_would_use(host: str, url: str) -> None:
    assert base_url(host) == url


@pytest.mark.parametrize("host", ["ftp://gpu-box", "http://gpu-box:secret", "http://gpu-box/?key=secret", "[::secret"])
def test_what_is_no_address_is_refused_without_repeating_it(host: str) -> None:
    with pytest.raises(ValueError, match="the address of Ollama is not") as caught:
        base_url(host)
    assert "secret" not in str(caught.value)


def test_an_address_is_shown_without_its_password() -> None:
    assert shown_address("http://user:secret@gpu-box:80/x") == "http://gpu-box:80/x"
