"""Everything that the hub's record knows to have happened, one name for each kind of decision."""

from enum import StrEnum


class Act(StrEnum):
    """What somebody did, or tried to do."""

    REPOSITORY_CREATED = "repository.created"
    REPOSITORY_DUPLICATED = "repository.duplicated"
    REPOSITORY_IMPORTED = "repository.imported"
    REPOSITORY_EXPORTED = "repository.exported"
    REPOSITORY_MIRRORED = "repository.mirrored"
    REPOSITORY_MOVED = "repository.moved"
    REPOSITORY_DELETED = "repository.deleted"
    MIRRORING_ENDED = "repository.mirroring-ended"
    VISIBILITY_CHANGED = "repository.visibility-changed"
    GATE_CHANGED = "repository.gate-changed"

    REFERENCE_PROTECTED = "reference.protected"
    REFERENCE_RELEASED = "reference.released"
    HOLD_PLACED = "hold.placed"
    HOLD_RELEASED = "hold.released"
    QUOTA_CHANGED = "quota.changed"
    NAME_FREED = "name.freed"

    ACCESS_ASKED = "access.asked"
    ACCESS_GRANTED = "access.granted"
    ACCESS_REFUSED = "access.refused"
    ACCESS_POSTPONED = "access.postponed"

    BRANCH_CREATED = "branch.created"
    BRANCH_DELETED = "branch.deleted"
    BRANCH_COMMITTED = "branch.committed"
    BRANCH_SQUASHED = "branch.squashed"
    TAG_CREATED = "tag.created"
    TAG_DELETED = "tag.deleted"

    CONTENTS_READ = "contents.read"
    CONTENTS_COPIED = "contents.copied"
    CONTENTS_DELETED = "contents.deleted"
    CONTENTS_SET_ASIDE = "contents.set-aside"
    CONTENTS_COLLECTED = "contents.collected"

    DISCUSSION_OPENED = "discussion.opened"
    DISCUSSION_RENAMED = "discussion.renamed"
    DISCUSSION_CLOSED = "discussion.closed"
    DISCUSSION_REOPENED = "discussion.reopened"
    PULL_REQUEST_MERGED = "discussion.merged"
    COMMENT_ADDED = "comment.added"
    COMMENT_EDITED = "comment.edited"
    COMMENT_HIDDEN = "comment.hidden"

    COLLECTION_CREATED = "collection.created"
    COLLECTION_CHANGED = "collection.changed"
    COLLECTION_DELETED = "collection.deleted"
    COLLECTION_ITEM_ADDED = "collection.item-added"
    COLLECTION_ITEM_CHANGED = "collection.item-changed"
    COLLECTION_ITEM_REMOVED = "collection.item-removed"

    USER_ADDED = "user.added"
    ORGANIZATION_ADDED = "organization.added"
    ROLE_GRANTED = "role.granted"
    ROLE_REVOKED = "role.revoked"
    TOKEN_CREATED = "token.created"
    TOKEN_REVOKED = "token.revoked"
    SIGN_IN_APPROVED = "sign-in.approved"
    SIGN_IN_DENIED = "sign-in.denied"
    SIGN_IN_ENDED = "sign-in.ended"

    WEBHOOK_CREATED = "webhook.created"
    WEBHOOK_CHANGED = "webhook.changed"
    WEBHOOK_ENABLED = "webhook.enabled"
    WEBHOOK_DISABLED = "webhook.disabled"
    WEBHOOK_DELETED = "webhook.deleted"

    BACKUP_TAKEN = "hub.backed-up"
    HUB_RESTORED = "hub.restored"
    REQUEST_REFUSED = "request.refused"
