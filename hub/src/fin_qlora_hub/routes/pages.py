"""Lists in pages, each with the address of the next one."""

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from fin_qlora_hub.routes.answers import Json


def page(
    items: Sequence[Any] | bytes, *, request: Request, public_url: str, cursor: str | None
) -> Json:
    """Answer with one page; `cursor` is where the next begins, None on the last."""
    headers = {}
    if cursor is not None:
        following = request.url.include_query_params(cursor=cursor).query
        headers["Link"] = f'<{public_url}{request.scope["path"]}?{following}>; rel="next"'
    return Json(items if isinstance(items, bytes) else list(items), headers=headers)
