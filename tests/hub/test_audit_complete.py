"""Nothing changes by a route that was forgotten: each is on record, or says here why it is not."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import fin_qlora_hub
from fin_qlora_hub.app import build_routes
from fin_qlora_hub.audit.acts import Act

UPLOAD = "nobody sees what was sent before a commit names it, and that is on record"
QUESTION = "it changes nothing"
NOTHING = "there is nothing to change"
_ONE = "/api/{kinds}/{namespace}/{name}"
_TALK = _ONE + "/discussions"
# What each route that could change something puts on record, or why it does not.
ROUTES: dict[str, tuple[Act, ...] | str] = {
    "POST /api/validate-yaml": QUESTION,
    "POST /v1/telemetry": QUESTION,
    "DELETE /api/{kinds}/{namespace}/{name}/like": NOTHING,
    "DELETE /api/{kinds}/{name}/like": NOTHING,
    "POST /oauth/device": "a wish, until somebody signs in for it",
    "POST /oauth/token": (Act.SIGN_IN_ENDED, Act.TOKEN_EXCHANGED),
    "POST /oauth/sign-in": "it opens a page, which gives nobody anything yet",
    "POST /oauth/decision": (Act.SIGN_IN_APPROVED, Act.SIGN_IN_DENIED),
    "POST /oauth/sign-out": "it closes a page",
    f"POST {_TALK}": (Act.DISCUSSION_OPENED,),
    f"POST {_TALK}/{{num}}/comment": (Act.COMMENT_ADDED,),
    f"POST {_TALK}/{{num}}/title": (Act.DISCUSSION_RENAMED,),
    f"POST {_TALK}/{{num}}/status": (Act.DISCUSSION_CLOSED, Act.DISCUSSION_REOPENED),
    f"POST {_TALK}/{{num}}/merge": (Act.PULL_REQUEST_MERGED, Act.BRANCH_COMMITTED),
    f"POST {_TALK}/{{num}}/comment/{{key}}/edit": (Act.COMMENT_EDITED,),
    f"POST {_TALK}/{{num}}/comment/{{key}}/hide": (Act.COMMENT_HIDDEN,),
    "POST /datasets/{namespace}/{name}/ask-access": (Act.ACCESS_ASKED,),
    "POST /{namespace}/{name}/ask-access": (Act.ACCESS_ASKED,),
    f"POST {_ONE}/user-access-request/handle": (
        *(Act.ACCESS_GRANTED, Act.ACCESS_REFUSED),
        Act.ACCESS_POSTPONED,
    ),
    f"POST {_ONE}/user-access-request/grant": (Act.ACCESS_GRANTED,),
    f"POST {_ONE}/lfs-files/batch": (Act.CONTENTS_DELETED,),
    f"POST {_ONE}/lfs-files/duplicate": (Act.CONTENTS_COPIED,),
    f"POST {_ONE}/super-squash/{{branch}}": (Act.BRANCH_SQUASHED,),
    "POST /xet/{place}/v1/xorb-grants/{prefix}/{xorb}": UPLOAD,
    "PUT /xet/{place}/xorb-data/{xorb}": UPLOAD,
    "POST /xet/{place}/v1/xorb-commits/{prefix}/{xorb}/grant/{name}": UPLOAD,
    "POST /xet/{place}/v1/xorbs/{prefix}/{xorb}": UPLOAD,
    "POST /xet/{place}/xorbs/{prefix}/{xorb}": UPLOAD,
    "POST /xet/{place}/v1/shards": UPLOAD,
    "POST /xet/{place}/shards": UPLOAD,
    "POST /xet/{place}/v2/shards": UPLOAD,
    "POST /{namespace}/{name}.git/info/lfs/objects/batch": UPLOAD,
    "POST /datasets/{namespace}/{name}.git/info/lfs/objects/batch": UPLOAD,
    "POST /{namespace}/{name}.git/info/lfs/objects/verify": QUESTION,
    "POST /datasets/{namespace}/{name}.git/info/lfs/objects/verify": QUESTION,
    "PUT /lfs/upload": UPLOAD,
    "PUT /lfs/part": UPLOAD,
    "POST /lfs/complete": UPLOAD,
    "POST /api/collections": (Act.COLLECTION_CREATED,),
    "PATCH /api/collections/{namespace}/{slug}": (Act.COLLECTION_CHANGED,),
    "DELETE /api/collections/{namespace}/{slug}": (Act.COLLECTION_DELETED,),
    "POST /api/collections/{namespace}/{slug}/items": (Act.COLLECTION_ITEM_ADDED,),
    "PATCH /api/collections/{namespace}/{slug}/items/{number}": (Act.COLLECTION_ITEM_CHANGED,),
    "DELETE /api/collections/{namespace}/{slug}/items/{number}": (Act.COLLECTION_ITEM_REMOVED,),
    "POST /api/settings/webhooks": (Act.WEBHOOK_CREATED,),
    "POST /api/settings/webhooks/{key}": (Act.WEBHOOK_CHANGED,),
    "POST /api/settings/webhooks/{key}/enable": (Act.WEBHOOK_ENABLED,),
    "POST /api/settings/webhooks/{key}/disable": (Act.WEBHOOK_DISABLED,),
    "DELETE /api/settings/webhooks/{key}": (Act.WEBHOOK_DELETED,),
    f"POST {_ONE}/paths-info/{{revision}}": QUESTION,
    f"POST {_ONE}/branch/{{branch}}": (Act.BRANCH_CREATED,),
    f"DELETE {_ONE}/branch/{{branch}}": (Act.BRANCH_DELETED,),
    f"POST {_ONE}/tag/{{revision}}": (Act.TAG_CREATED,),
    f"DELETE {_ONE}/tag/{{tag}}": (Act.TAG_DELETED,),
    f"POST {_ONE}/protected/{{reference}}": (Act.REFERENCE_PROTECTED,),
    f"POST {_ONE}/preupload/{{revision}}": QUESTION,
    f"POST {_ONE}/commit/{{revision}}": (Act.BRANCH_COMMITTED, Act.DISCUSSION_OPENED),
    "POST /api/repos/create": (Act.REPOSITORY_CREATED,),
    "DELETE /api/repos/delete": (Act.REPOSITORY_DELETED,),
    "POST /api/repos/move": (Act.REPOSITORY_MOVED,),
    f"POST {_ONE}/duplicate": (Act.REPOSITORY_DUPLICATED,),
    f"PUT {_ONE}/settings": (Act.VISIBILITY_CHANGED, Act.GATE_CHANGED),
    "POST /api/{kinds}/{name}/{endpoint}/{rest}": NOTHING,
    "PUT /api/{kinds}/{name}/{endpoint}/{rest}": NOTHING,
    "DELETE /api/{kinds}/{name}/{endpoint}/{rest}": NOTHING,
}
SOURCES = {
    path: path.read_text("utf-8") for path in Path(fin_qlora_hub.__file__).parent.rglob("*.py")
}


def changing() -> Iterator[str]:
    waiting = list(build_routes().routes)
    while waiting:
        route = waiting.pop(0)
        if hasattr(route, "original_router"):
            waiting += route.original_router.routes
        else:
            for method in sorted(set(route.methods) - {"GET", "HEAD"}):
                yield f"{method} {route.path_format}"


def test_every_route_is_known() -> None:
    assert set(changing()) == set(ROUTES)


@pytest.mark.parametrize("act", list(Act))
def test_every_act_is_put_on_record_somewhere(act) -> None:
    used = [p.name for p, text in SOURCES.items() if re.search(rf"\bAct\.{act.name}\b", text)]
    assert set(used) - {"notices.py", "problems.py"}
