"""Whether servers elsewhere can be asked at all, before anything is made that they are to continue.

What can be known then: that an endpoint answers, that it speaks the protocol, and, where `engine.model` names a model,
that it lists it. Without that name the model is called after the hash of weights that may not be there yet, so an
endpoint of any model passes; whether it serves the right one is asked when the engine is opened.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final

from models.engines.completions import Client, Failed, session
from perseid.engines import Server, checked_key
from perseid.errors import UserError

ANSWER_S: Final = 5.0  # for an endpoint to tell what it serves


def check_reach(experiment: str, settings: Server) -> None:
    """Raises `UserError` when no endpoint of the experiment can be used, within `ANSWER_S`."""
    found = asyncio.run(_asked(settings))
    if all(found.values()):
        wrong = "; ".join(f"{url}: {error}" for url, error in found.items())
        how = "start one (such as vllm serve FOLDER --port PORT) before anything is trained"
        raise UserError(experiment, "engine.endpoints", f"expected a server that answers, {how}; found {wrong}")


async def _asked(settings: Server) -> dict[str, str]:
    """What is wrong with each endpoint, "" if nothing."""
    key, urls = checked_key(os.environ), list(settings.endpoints)
    async with session(len(urls), ANSWER_S, key) as connections:
        client = Client(connections, settings.model, False, key)
        errors = await asyncio.gather(*(_wrong(client, url) for url in urls))
    return dict(zip(urls, errors, strict=True))


async def _wrong(client: Client, url: str) -> str:
    try:
        async with asyncio.timeout(ANSWER_S):
            models = [model.id for model in await client.served(url)]
    except TimeoutError:
        return f"no answer in {ANSWER_S:g} s"
    except UserError as error:
        return error.expected
    except Failed as error:
        return str(error)
    if client.model and client.model not in models:
        return f"serves {client.said(', '.join(models)) or 'nothing'}, not {client.model}"
    return ""
