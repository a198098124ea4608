"""OpenAI's Responses and Conversations, as their API reference and the Open Responses specification have them.

A translation at the edge: `request_forms` and `decode` make a chat of a request, `stream` tells a run's events in
OpenAI's. There is no other loop behind it and no other store.
Sources: https://github.com/openai/openai-openapi, https://github.com/openresponses/openresponses.
"""
