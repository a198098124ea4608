"""OpenAI's older dialect: `/v1/chat/completions`, `/v1/completions` and `/v1/models`, as translations onto a run."""
