"""Ways to ask a server of a test."""

import json

import httpx
import openai


def client(port, key="none"):
    return openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0)


def post(port, value, path="/v1/chat/completions", **headers):
    """The answer to a body given as a value, or as bytes."""
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    headers = {name.replace("_", "-"): text for name, text in headers.items()}
    url = f"http://127.0.0.1:{port}{path}"
    return httpx.post(url, content=content, headers=headers, timeout=60)


def asking(content="what is json", **more):
    return {"messages": [{"role": "user", "content": content}], "max_tokens": 8} | more
