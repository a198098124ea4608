"""What goes wrong at the Hugging Face hub, in our words: never a signed address, never a header."""

from urllib.parse import urlsplit

import httpx2

from orchestrator.core.errors import ErrorKind, OrchestratorError


def hub_error(error: Exception, repository: str, endpoint: str) -> OrchestratorError:
    """Our error for one of the library's, or of its HTTP client's."""
    from huggingface_hub import errors

    match error:
        case errors.GatedRepoError():
            message = (
                f"{repository} is gated: accept its conditions at {_shown(endpoint)}/{repository}, "
                "then give the service a token of that account as HF_TOKEN."
            )
            return OrchestratorError(ErrorKind.PERMISSION_DENIED, message, param="model")
        case errors.RevisionNotFoundError():
            return _unknown(f"{repository} has no such revision.")
        case errors.RepositoryNotFoundError():
            hint = "If it is private, give the service a token as HF_TOKEN."
            return _unknown(f"{_shown(endpoint)} has no repository {repository}. {hint}")
        case errors.EntryNotFoundError():
            return _unknown(f"{repository} no longer has this file.")
        case errors.HfHubHTTPError():
            return _refused(error.response.status_code, repository, endpoint)
        case errors.OfflineModeIsEnabled():
            message = "Nothing is downloaded while HF_HUB_OFFLINE is set."
            return OrchestratorError(ErrorKind.ENGINE_UNAVAILABLE, message)
        case httpx2.HTTPError() | ConnectionError():
            return transport_error(endpoint, f"cannot be reached ({type(error).__name__})")
        case _:
            message = f"{_shown(endpoint)} answers, but not as the hub does ({type(error).__name__})."
            return OrchestratorError(ErrorKind.ENGINE_ERROR, message)


def transport_error(endpoint: str, what: str) -> OrchestratorError:
    """The hub, or the way to it, does not work right now."""
    return OrchestratorError(ErrorKind.ENGINE_UNAVAILABLE, f"{_shown(endpoint)} {what}.")


def _refused(status: int, repository: str, endpoint: str) -> OrchestratorError:
    match status:
        case 401 | 403:
            message = (
                f"{_shown(endpoint)} does not let this service have {repository} (status {status}): "
                "see whether HF_TOKEN is valid and may read it."
            )
            return OrchestratorError(ErrorKind.PERMISSION_DENIED, message, param="model")
        case 404:
            return _unknown(f"{_shown(endpoint)} does not find this file of {repository}.")
        case 429:
            return transport_error(endpoint, "takes no more requests for a while (status 429)")
        case _ if status >= 500:
            return transport_error(endpoint, f"answered with status {status}")
        case _:
            message = f"{_shown(endpoint)} answered with status {status}."
            return OrchestratorError(ErrorKind.ENGINE_ERROR, message)


def _unknown(message: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.UNKNOWN_MODEL, message, param="model")


def _shown(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
