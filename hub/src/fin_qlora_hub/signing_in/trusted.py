"""The issuers that one server believes, with their keys, and the provider where people sign on."""

from collections.abc import Mapping
from typing import Any

from fin_qlora_hub.errors import InvalidTokenError
from fin_qlora_hub.outgoing import Outgoing
from fin_qlora_hub.settings import Settings
from fin_qlora_hub.signing_in.issuers import Keys, issuer_of, verify
from fin_qlora_hub.signing_in.provider import Provider
from fin_qlora_hub.signing_in.trust import Jobs, read_trust


class Trusted:
    """Checks what others sign, for as long as a server runs; raises UnusableDataError."""

    def __init__(self, settings: Settings) -> None:
        trust = read_trust(settings.trust_file)
        outgoing = Outgoing.of(settings)
        self._public_url = settings.public_url and settings.public_url.rstrip("/")
        self.provider = None if trust.sign_on is None else Provider(trust.sign_on, outgoing)
        self._jobs = {jobs.issuer: (jobs, Keys(jobs, outgoing)) for jobs in trust.jobs}

    def verify_job(self, token: str) -> tuple[Jobs, Mapping[str, Any]]:
        """Return who vouches for a job, and what they say of it; raises InvalidTokenError."""
        known = self._jobs.get(issuer_of(token))
        if known is None:
            raise InvalidTokenError("The hub does not know the issuer of this identity token.")
        jobs, keys = known
        # Never the address that a request was sent to, which its sender chooses.
        audience = jobs.audience or self._public_url
        if audience is None:
            raise InvalidTokenError(
                "The hub does not know its own address: set FIN_QLORA_HUB_PUBLIC_URL."
            )
        return jobs, verify(token, keys, audience=audience)
