"""What vLLM loads at its start (entry point of the group ``vllm.general_plugins``)."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from ..errors import FinQloraError
from .adapters import AdapterSource
from .policy import PREFIX, ServingPolicy

# below vLLM's own logger, so that its lines go where that one writes
logger = logging.getLogger("vllm.fin_qlora")

#: Under which name the resolver stands in vLLM's registry.
RESOLVER = "fin-qlora"

#: Adapters that are fetched or checked at a time, in threads of their own: the event loop's are
#: those in which the engine tokenizes.
_AT_ONCE = 4

_ALLOWED = "VLLM_ALLOW_RUNTIME_LORA_UPDATING"


def register() -> None:
    """Give vLLM the resolver, where the operator has said what may be served; else do nothing.

    vLLM calls it in each of its processes, and in every server that has this package installed.

    Raises UsageError when a setting is wrong, which keeps the server from starting.
    """
    policy = ServingPolicy.from_environment(os.environ)
    if policy is None:
        logger.info("%sNAMESPACES is not set: adapters are not fetched.", PREFIX)
        return
    if os.environ.get(_ALLOWED, "0").strip().lower() not in ("1", "true"):
        logger.warning("%s is not 1: vLLM will not ask for adapters at run time.", _ALLOWED)
    from vllm.lora.resolver import LoRAResolverRegistry

    LoRAResolverRegistry.register_resolver(RESOLVER, _resolver(AdapterSource(policy)))


def _resolver(source: AdapterSource) -> Any:
    """Return an instance of vLLM's own class of resolvers, which are awaited in its event loop."""
    from vllm.lora.request import LoRARequest
    from vllm.lora.resolver import LoRAResolver

    threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fin-qlora-adapters")

    class FinQloraResolver(LoRAResolver):
        """Answers for adapters on the hub that HF_ENDPOINT names."""

        async def resolve_lora(self, base_model_name: str, lora_name: str) -> LoRARequest | None:
            """Return what vLLM loads, or None; the reason for a refusal is logged."""
            find = partial(source.find, lora_name, base=base_model_name)
            try:
                found = await asyncio.get_running_loop().run_in_executor(threads, find)
            except FinQloraError as error:
                logger.warning("Adapter %r is refused: %s", lora_name[:300], _line(str(error)))
                return None
            except Exception as error:
                # a client must not see what went wrong here, and the next one is to be answered
                logger.error("Adapter %r could not be checked: %s", lora_name, _line(repr(error)))
                logger.debug("Where that was:", exc_info=error)
                return None
            if found.away:
                logger.warning(
                    "Adapter %r is served from the cache: %s", lora_name, _line(found.away)
                )
            logger.info(
                "Adapter %r is %s at %s, for %s.",
                lora_name,
                found.name,
                found.commit,
                _line(", ".join(found.tasks)),
            )
            return LoRARequest(
                lora_name=lora_name, lora_int_id=_number(lora_name), lora_path=str(found.folder)
            )

    return FinQloraResolver()


def _line(text: str) -> str:
    """Return a text, of which others wrote parts, as one line of a log without control codes."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode()
        for each in text[:1000]
    )


def _number(name: str) -> int:
    """Return a positive number of 63 bits for a name; vLLM counts its own in its place."""
    return 1 + int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")
