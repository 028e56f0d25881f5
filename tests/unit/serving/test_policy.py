"""What an operator may set, and what a client may name."""

import pytest

from fin_qlora.errors import UnknownNameError, UsageError
from fin_qlora.serving.policy import AdapterReference, ServingPolicy

COMMIT = "0123456789" * 4


def environment(**values):
    return {f"FIN_QLORA_SERVE_{name}": value for name, value in values.items()}


def test_the_environment_sets_every_field():
    policy = ServingPolicy.from_environment(
        environment(
            NAMESPACES="desk, risk/ner-8b-r4",
            BASE_REVISION=COMMIT,
            MAX_RANK="8",
            MAX_MEGABYTES="100",
            REQUIRE_COMMIT="true",
        )
        | {"PATH": "/bin"}
    )
    assert policy == ServingPolicy(
        namespaces=("desk", "risk/ner-8b-r4"),
        base_revision=COMMIT,
        max_rank=8,
        max_megabytes=100,
        require_commit=True,
    )


def test_without_settings_there_is_no_policy():
    assert ServingPolicy.from_environment({"PATH": "/bin"}) is None
    assert ServingPolicy.from_environment(environment(NAMESPACES=" ")) is None


@pytest.mark.parametrize(
    ("values", "error", "says"),
    [
        ({"NAMESPACE": "desk"}, UnknownNameError, "FIN_QLORA_SERVE_NAMESPACES"),
        ({"MAX_RANK": "8"}, UsageError, "NAMESPACES is not set"),
        ({"NAMESPACES": "*"}, UsageError, r"has '\*'"),
        ({"NAMESPACES": "desk/a/b"}, UsageError, "has 'desk/a/b'"),
        ({"NAMESPACES": "desk", "MAX_RANK": "big"}, UsageError, "no number"),
        ({"NAMESPACES": "desk", "MAX_RANK": "0"}, UsageError, "1 or more"),
        ({"NAMESPACES": "desk", "MAX_MEGABYTES": "-1"}, UsageError, "MAX_MEGABYTES is -1"),
        ({"NAMESPACES": "desk", "BASE_REVISION": "main"}, UsageError, "no commit"),
        ({"NAMESPACES": "desk", "REQUIRE_COMMIT": "maybe"}, UsageError, "1 or 0"),
    ],
)
def test_a_wrong_setting_is_named(values, error, says):
    with pytest.raises(error, match=says):
        ServingPolicy.from_environment(environment(**values))


def test_a_reference_is_a_name_and_perhaps_a_revision():
    assert AdapterReference.parse("desk/ner") == AdapterReference("desk/ner")
    assert AdapterReference.parse("desk/ner@v1.0/a") == AdapterReference("desk/ner", "v1.0/a")
    assert AdapterReference.parse(f"desk/ner@{COMMIT}").pinned
    assert not AdapterReference.parse("desk/ner@main").pinned


@pytest.mark.parametrize(
    "text",
    [
        "ner",
        "/etc/passwd",
        "../../secret",
        "desk/../other",
        "desk/ner@../../refs",
        "desk/ner@",
        "desk/ner@refs/pr/1",
        "desk/ner@mаin",  # the second letter is Cyrillic
        "desk/ner/sub",
        "~/adapters",
        "desk/ner\nrefused",
        "https://else.where/desk/ner",
        "desk/" + "n" * 97,
        "",
    ],
)
def test_anything_else_is_no_reference(text):
    with pytest.raises(UsageError, match="is not an adapter"):
        AdapterReference.parse(text)


@pytest.mark.parametrize(
    ("namespaces", "name", "allowed"),
    [
        (("desk",), "desk/ner", True),
        (("desk",), "desks/ner", False),
        (("desk/ner",), "desk/ner", True),
        (("desk/ner",), "desk/fpb", False),
        (("risk", "desk/ner"), "risk/any", True),
    ],
)
def test_only_named_namespaces_are_served(namespaces, name, allowed):
    policy = ServingPolicy(namespaces=namespaces)
    if allowed:
        policy.check_reference(AdapterReference(name))
    else:
        with pytest.raises(UsageError, match="in no namespace"):
            policy.check_reference(AdapterReference(name))


def test_where_commits_are_required_a_branch_is_refused():
    policy = ServingPolicy(namespaces=("desk",), require_commit=True)
    policy.check_reference(AdapterReference("desk/ner", COMMIT))
    for revision in (None, "main", COMMIT[:7]):
        with pytest.raises(UsageError, match="names no commit"):
            policy.check_reference(AdapterReference("desk/ner", revision))
