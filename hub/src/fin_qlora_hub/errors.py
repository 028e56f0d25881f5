"""Everything that this hub refuses, one class for each decision that a caller can make.

    HubError
    ├── BadRequestError            the request makes no sense as it stands
    │   ├── IllegalPathError       a path that no checkout could hold
    │   └── BadBundleError         a bundle that is damaged, or signed by nobody trusted
    ├── NotAuthenticatedError      no token was sent
    ├── InvalidTokenError          the token is unknown, expired or revoked
    ├── ForbiddenError             the caller is known and may not do this
    │   └── GatedError             they may see the repository, but must ask for its files
    │       ├── GatedForStrangersError     they must say who they are before they can ask
    │       └── NotMirroredError           it would be mirrored, but is not here (yet)
    ├── OAuthError                 a program gets no token; `code` is the word for it
    ├── NotFoundError
    │   ├── RepositoryNotFoundError
    │   │   └── UnhostedRepositoryError   nothing to read in a namespace that is not the caller's
    │   ├── RepositoryMovedError       it has another name now, which the caller may know
    │   ├── RevisionNotFoundError
    │   └── EntryNotFoundError
    ├── AlreadyExistsError
    ├── ParentConflictError        the branch moved since the caller looked
    ├── TooLargeError
    │   └── QuotaExceededError     the namespace may not keep so much
    ├── TooManyRequestsError       the caller asks too often
    └── OperationalError           the machine, not the caller, is at fault
        ├── StorageFullError
        ├── BusyError
        │   ├── UnreachableError       the database, or the object store, does not answer
        │   ├── NotFetchedError        a file of a mirrored repository is not here yet
        │   └── NotDescribedError      a repository is about to be mirrored
        ├── UpstreamError              the hub that is mirrored does not answer as it should
        ├── NotInitialisedError
        ├── UnusableDataError
        ├── AlreadyServedError
        └── AddressError

They know nothing of HTTP: `routes.problems` gives each its status and headers, and the command
line uses `exit_code` (2 usage, 3 data, 4 environment, 5 hub).
"""


class HubError(Exception):
    """Something that this hub refuses to do; the message says what is wrong and what to do."""

    exit_code = 5


class BadRequestError(HubError):
    """The request cannot be understood or breaks a rule of names or formats."""

    exit_code = 2


class IllegalPathError(BadRequestError):
    """A file path that may not enter a repository."""


class BadBundleError(BadRequestError):
    """A bundle that is damaged, or that nobody signed who is trusted."""

    exit_code = 3


class NotAuthenticatedError(HubError):
    """The caller sent no token, and this hub shows nothing to strangers."""


class InvalidTokenError(HubError):
    """The caller sent a token that this hub does not know or no longer accepts."""


class ForbiddenError(HubError):
    """The caller is known but lacks the right to do this."""


class GatedError(ForbiddenError):
    """The caller may see the repository, but must be let in before they have its files."""


class GatedForStrangersError(GatedError):
    """A stranger may see the repository, but must sign in before they can be let in."""


class NotMirroredError(GatedError):
    """A repository of another hub that this one may mirror, and does not have (yet).

    Clients take it as they take a gated one: they look into their own cache.
    """


class OAuthError(HubError):
    """A program asked for a token and gets none; `code` says why in the words of OAuth."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class NotFoundError(HubError):
    """What the caller named is not there, or not there for them."""


class RepositoryNotFoundError(NotFoundError):
    """The repository does not exist, or the caller may not know that it does."""


class UnhostedRepositoryError(RepositoryNotFoundError):
    """The caller has no role in the namespace and may read no such repository there.

    A public base model's id is of this kind, whether or not the hub has its namespace. The message
    is that of any missing repository: nobody learns which namespaces there are.
    """


class RepositoryMovedError(NotFoundError):
    """The repository has another name now; `name` is that, `namespace/name`."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The repository is now called {name}.")
        self.name = name


class RevisionNotFoundError(NotFoundError):
    """No branch, tag or commit of the repository has this name."""


class EntryNotFoundError(NotFoundError):
    """The revision holds no file or folder of this path."""

    def __init__(self, message: str, *, commit: str | None = None) -> None:
        super().__init__(message)
        self.commit = commit


class AlreadyExistsError(HubError):
    """The name is taken."""


class ParentConflictError(HubError):
    """The branch has moved since the commit that the caller built on."""


class TooLargeError(HubError):
    """A file, a line or a request is larger than this hub takes."""


class QuotaExceededError(TooLargeError):
    """The namespace would keep more bytes than it may."""


class TooManyRequestsError(HubError):
    """The caller asks more often than one may; `seconds` says when to come again."""

    def __init__(self, seconds: int, *, per_minute: int) -> None:
        super().__init__(
            f"More than {per_minute:,} such requests a minute are too many: wait {seconds} seconds."
        )
        self.seconds = seconds
        self.per_minute = per_minute


class OperationalError(HubError):
    """The server's own surroundings prevent it from working."""

    exit_code = 4


class StorageFullError(OperationalError):
    """The disk that holds the data directory is full."""


class BusyError(OperationalError):
    """Another writer held the metadata for too long; the same request may succeed later."""

    seconds = 1  # before the next try


class UnreachableError(BusyError):
    """The database or the object store does not answer: it is gone, or being started again."""

    def __init__(
        self, reason: str = "it broke off the connection", *, what: str = "database"
    ) -> None:
        super().__init__(f"The hub's {what} cannot be reached. Try again in a moment.")
        self.reason = reason  # may name machines: for administrators alone


class NotFetchedError(BusyError):
    """A file of a mirrored repository that nobody has asked for before."""


class NotDescribedError(BusyError):
    """A repository of another hub that is being looked up: whoever comes again will find it."""

    seconds = 3


class UpstreamError(OperationalError):
    """The hub that is mirrored refuses, does not answer, or answers nonsense.

    `lasting` says that the same question would get the same answer, `absent` that what was asked
    for is not there, or not for this hub.
    """

    def __init__(self, message: str, *, lasting: bool = False, absent: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting
        self.absent = absent


class NotInitialisedError(OperationalError):
    """The data directory has not been made by `fin-qlora-hub init`."""


class UnusableDataError(OperationalError):
    """What lies in the data directory is damaged, unprotected or of another version."""


class AlreadyServedError(OperationalError):
    """Another process already serves this data directory."""


class AddressError(OperationalError):
    """The server cannot listen on the address that it was given."""
