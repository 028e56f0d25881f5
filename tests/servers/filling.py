"""Rows in those tables that no ordinary request of a stock client fills."""

from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from fin_qlora_hub.access.identity import Role, find_user
from fin_qlora_hub.access.protection import hold, protect
from fin_qlora_hub.access.visibility import Kind, RepositoryName
from fin_qlora_hub.contents.awaited import Awaited, note_to_come
from fin_qlora_hub.contents.reserving import set_quota
from fin_qlora_hub.metadata.quotas import reserve
from fin_qlora_hub.metadata.tables import ExternalIdentity
from fin_qlora_hub.mirrors.registry import begin, note_checked
from fin_qlora_hub.repositories.repository import read_name, require_repository
from fin_qlora_hub.signing_in import device_flow, sign_ins
from fin_qlora_hub.stores.blobs import Content

MIRRORED = RepositoryName(Kind.MODEL, "lab", "base")


def fill(session: Session, repository: str) -> None:
    """Mirror, protect, hold, limit, and sign in; the repository has a tag `v1`."""
    mirror = begin(session, MIRRORED, upstream="https://there.invalid", whole=True)
    note_checked(session, mirror, "refs/heads/main", "0" * 40)
    content = Content("0" * 64, None, 1)
    note_to_come(session, mirror.id, [Awaited(content, "w.bin", "0" * 40)])
    found = require_repository(session, read_name(repository))
    protect(session, found, "v1", by="alice")
    hold(session, found, reason="a case")
    set_quota(session, found.namespace, 10**9)
    reserve(session, found.namespace_id, {"xorb:0": 1}, lasting=timedelta(days=1))
    _sign_in(session)


def _sign_in(session: Session) -> None:
    asked = device_flow.ask(session, client_id="c", address="a", agent="b")
    session.flush()
    found, user = device_flow.find(session, asked.user_code), find_user(session, "alice").id
    sign_in = device_flow.approve(session, found, user, role=Role.READ, days=1, approved_by=None)
    sign_ins.issue(session, sign_in, hours=1)
    now = datetime.now(UTC)
    session.add(ExternalIdentity(issuer="i", subject="s", user_id=user, created_at=now))
