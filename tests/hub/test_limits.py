"""Who asks too often, or with too many wrong tokens, is told when to come again."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi import Request
from huggingface_hub.utils._http import parse_ratelimit_headers

from fin_qlora_hub.access.identity import Role, create_token, revoke_token
from fin_qlora_hub.errors import TooManyRequestsError
from fin_qlora_hub.routes import limits
from fin_qlora_hub.routes.limits import Rate
from fin_qlora_hub.settings import Settings


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_fills_again() -> None:
    clock = Clock()
    rate = Rate(6, now=clock)
    for _ in range(6):
        rate.take("a")
    with pytest.raises(TooManyRequestsError) as refused:
        rate.take("a")
    assert refused.value.seconds == 10
    rate.take("b")
    clock.now += 9
    with pytest.raises(TooManyRequestsError):
        rate.take("a")
    clock.now += 1
    rate.take("a")
    with pytest.raises(TooManyRequestsError):
        rate.require("a")
    clock.now += 3600
    for _ in range(6):
        rate.take("a")
    with pytest.raises(TooManyRequestsError):
        rate.take("a")


def test_nothing_is_counted_without_a_rate() -> None:
    rate = Rate(0)
    for _ in range(100):
        rate.take("a")
    rate.require("a")


def test_what_is_remembered_has_an_end(monkeypatch) -> None:
    monkeypatch.setattr(limits, "MAX_REMEMBERED", 10)
    clock = Clock()
    rate = Rate(60, now=clock)
    for number in range(100):
        rate.take(number)
        clock.now += 0.01
    assert len(rate._buckets) <= 10


def test_a_user_who_asks_too_often(start_hub, tmp_path) -> None:
    hubs = start_hub(tmp_path / "data", requests_per_minute=20)
    with hubs as hub, hub.http() as http, hub.http("bob") as other:
        answers = [http.get("/api/whoami-v2") for _ in range(25)]
        assert [a.status_code for a in answers[:20]] == [200] * 20
        refused = answers[-1]
        assert (refused.status_code, refused.headers["x-error-code"]) == (429, "RateLimited")
        assert 1 <= int(refused.headers["retry-after"]) <= 3
        understood = parse_ratelimit_headers(refused.headers)
        assert understood.remaining == 0
        assert understood.reset_in_seconds == int(refused.headers["retry-after"])
        assert (understood.limit, understood.window_seconds) == (20, 60)
        assert other.get("/api/whoami-v2").status_code == 200
        del http.headers["Authorization"]
        codes = {http.get("/api/models").status_code for _ in range(25)}
        assert codes == {401, 429}


def test_the_stock_client_waits(start_hub, tmp_path) -> None:
    with start_hub(tmp_path / "data", requests_per_minute=60) as hub:
        hub.api().create_repo("alice/a")
        with hub.http() as http:
            while http.get("/api/whoami-v2").status_code == 200:
                pass
        assert hub.api().list_repo_files("alice/a") == [".gitattributes"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/models/alice/a/duplicate", {"repository": "alice/a"}),
        ("POST", "/api/models/alice/a/super-squash/main", None),
        ("POST", "/api/models/alice/a/lfs-files/batch", {"deletions": {"sha": []}}),
        ("GET", "/api/models/alice/a/safetensors-metadata/x", None),
    ],
)
def test_what_costs_much_has_a_limit_of_its_own(start_hub, tmp_path, method, path, body) -> None:
    with start_hub(tmp_path / "data", costly_requests_per_minute=3) as hub:
        hub.api().create_repo("alice/a")
        with hub.http() as http:
            codes = [http.request(method, path, json=body).status_code for _ in range(4)]
            assert codes[-1] == 429
            assert 429 not in codes[:3]
            assert http.get("/api/models/alice/a").status_code == 200


def test_too_many_wrong_tokens(start_hub, tmp_path, monkeypatch) -> None:
    with start_hub(tmp_path / "data", failures_per_minute=5) as hub:
        with hub.hub.database.writing() as session:
            fresh = create_token(session, "alice", name="fresh", role=Role.READ)
        with hub.http() as known, hub.http("anonymous") as http:
            assert known.get("/api/whoami-v2").status_code == 200

            def status(token: str) -> int:
                headers = {"Authorization": token}
                return http.get("/api/whoami-v2", headers=headers).status_code

            wrong = [status(f"Bearer fqh_wrong{n}") for n in range(4)] + [status("Basic x")]
            assert wrong == [401] * 5
            assert {status(f"Bearer fqh_more{n}") for n in range(5)} == {429}
            looked = monkeypatch.setattr(
                "fin_qlora_hub.access.authentication.authenticate", pytest.fail
            )
            assert looked is None
            assert status("Bearer fqh_another") == 429  # without a look into the database
            assert status(f"Bearer {fresh}") == 429  # nobody finds a token by trying
            monkeypatch.undo()
            hub.api().create_repo("alice/x")  # what was remembered is looked up again
            assert known.get("/api/whoami-v2").status_code == 200


def test_a_token_that_ended_is_trusted_no_longer(start_hub, tmp_path, monkeypatch) -> None:
    with start_hub(tmp_path / "data", failures_per_minute=5) as hub:
        with hub.hub.database.writing() as session:
            secret = create_token(session, "alice", name="short", role=Role.READ)
        with hub.http("anonymous") as http:
            headers = {"Authorization": f"Bearer {secret}"}

            def status() -> int:
                return http.get("/api/whoami-v2", headers=headers).status_code

            assert status() == 200
            with hub.hub.database.writing() as session:
                revoke_token(session, "alice", name="short")
            assert [status() for _ in range(5)] == [401] * 5
            monkeypatch.setattr("fin_qlora_hub.access.authentication.authenticate", pytest.fail)
            assert status() == 429  # without a look into the database


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("no:address", "no:address"),
    ],
)
def test_a_network_of_ipv6_counts_as_one_address(host, counted) -> None:
    request = Request({"type": "http", "client": (host, 1), "headers": []})
    assert limits.network_of(request) == counted


def test_forgetting_a_full_table_makes_room_for_many(monkeypatch) -> None:
    monkeypatch.setattr(limits, "MAX_REMEMBERED", 100)
    rate = Rate(60, now=(clock := Clock()))
    rate.take("full again")
    clock.now += 1
    for number in range(100):
        rate.take(number)
    assert len(rate._buckets) <= 60


def test_too_many_wrong_codes_and_refresh_tokens(start_hub, tmp_path) -> None:
    asked = {"grant_type": "refresh_token", "refresh_token": "fqr_wrong", "client_id": "c"}
    hubs = start_hub(tmp_path / "data", failures_per_minute=3)
    with hubs as hub, hub.http("anonymous") as http:
        codes = [http.post("/oauth/token", data=asked).status_code for _ in range(5)]
        assert codes == [400, 400, 400, 429, 429]


def test_the_defaults_hinder_nobody() -> None:
    settings = Settings()
    rate = Rate(settings.requests_per_minute, now=(clock := Clock()))
    for _ in range(200 * 60 * 3):  # 200 a second, three minutes long
        clock.now += 1 / 200
        rate.take("alice")


def test_counting_keeps_up_with_many_threads_at_once(start_hub, tmp_path) -> None:
    with start_hub(tmp_path / "data", requests_per_minute=100) as hub:
        with hub.http() as http, ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(http.get, "/api/whoami-v2") for _ in range(130)]
            codes = [one.result().status_code for one in asked]
        assert 100 <= codes.count(200) <= 115  # some come back while the others ask
        assert codes.count(429) == 130 - codes.count(200)
