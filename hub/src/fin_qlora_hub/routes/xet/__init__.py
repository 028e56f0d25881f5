"""Xet: the chunk store that hf_xet talks to, with tokens of its own."""

from fastapi import APIRouter

from fin_qlora_hub.routes.xet import chunks, parts, reconstructions, shards, tokens, xorbs

router = APIRouter()
for noun in (tokens, xorbs, shards, chunks, reconstructions, parts):
    router.include_router(noun.router)
