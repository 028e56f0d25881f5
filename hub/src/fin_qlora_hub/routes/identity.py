"""Who the caller is, and whether they may use a repository."""

from collections.abc import Sequence

from fastapi import APIRouter
from starlette.responses import JSONResponse

from fin_qlora_hub.access.gating import require_download
from fin_qlora_hub.access.identity import Caller, TokenKind, organizations_of
from fin_qlora_hub.errors import InvalidTokenError
from fin_qlora_hub.repositories.repository import open_readable, open_writable
from fin_qlora_hub.routes.dependencies import AnyCaller, CurrentCaller, CurrentHub, Target
from fin_qlora_hub.routes.payloads import moment
from fin_qlora_hub.signing_in.limited import Entity, entities_of

router = APIRouter()


@router.get("/api/whoami-v2")
def who_am_i(hub: CurrentHub, caller: AnyCaller) -> JSONResponse:
    """Say whose token was sent."""
    if caller is None:
        raise InvalidTokenError("Invalid username or password.")
    with hub.database.reading() as session:
        organizations = organizations_of(session, caller)
        entities = entities_of(session, caller)
    return JSONResponse(
        {
            "type": "user",
            "id": f"{caller.user_id:024x}",
            "name": caller.name,
            "fullname": caller.full_name,
            "email": caller.email,
            "isPro": False,
            "orgs": [
                {
                    "type": "org",
                    "name": membership.name,
                    "fullname": membership.full_name,
                    "roleInOrg": membership.role,
                }
                for membership in organizations
            ],
            "auth": _described(caller, entities),
        }
    )


def _described(caller: Caller, entities: Sequence[Entity]) -> dict[str, object]:
    """Return how the caller's token is shown; clients name what they keep by its `displayName`."""
    token: dict[str, object] = {
        "role": caller.token_role,
        "createdAt": moment(caller.token_created_at),
    }
    if caller.reach is not None:
        permissions = ["repo.content.read", *(["repo.write"] if caller.token_role.writes else [])]
        token["role"] = "fineGrained"
        token["fineGrained"] = {
            "canReadGatedRepos": caller.reach.holds(caller.name),
            "global": [],
            "scoped": [
                {
                    "entity": {
                        "_id": f"{entity.id:024x}",
                        "type": entity.kind,
                        "name": entity.name,
                    },
                    "permissions": permissions,
                }
                for entity in entities
            ],
        }
    if caller.token_kind is TokenKind.ACCESS:
        return {"type": "access_token", "accessToken": {"displayName": caller.token_name, **token}}
    assert caller.token_expires_at is not None
    return {
        "type": "oauth",
        "expiresAt": moment(caller.token_expires_at),
        "accessToken": token,
    }


def _entity(entity: Entity) -> dict[str, str]:
    return {"_id": f"{entity.id:024x}", "type": entity.kind, "name": entity.name}


@router.get("/api/{kinds}/{namespace}/{name}/auth-check")
def check_read(target: Target, hub: CurrentHub, caller: CurrentCaller) -> JSONResponse:
    """Say whether the caller may read a repository."""
    with hub.database.reading() as session:
        require_download(session, open_readable(session, target, caller), caller)
    return JSONResponse({})


@router.get("/api/{kinds}/{namespace}/{name}/auth-check/write")
def check_write(target: Target, hub: CurrentHub, caller: CurrentCaller) -> JSONResponse:
    """Say whether the caller may change a repository."""
    with hub.database.reading() as session:
        open_writable(session, target, caller)
    return JSONResponse({})
