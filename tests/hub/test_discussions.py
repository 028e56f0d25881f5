"""Discussions and pull requests, as the stock client and `hf discussions` use them."""

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.errors import BadRequestError, HfHubHTTPError


def add(path: str, content: bytes = b"x") -> CommitOperationAdd:
    return CommitOperationAdd(path, content)


@pytest.fixture
def base(api, shared) -> str:
    operations = [add("a", b"1\n"), add("b", b"1\n"), add("w.bin", b"weights")]
    api.create_commit(shared, operations, commit_message="base")
    return shared


def read(running, name: str, path: str, revision: str = "main") -> bytes:
    with running.http() as http:
        answer = http.get(f"/{name}/resolve/{revision.replace('/', '%2F')}/{path}")
        return answer.content if answer.status_code == 200 else b""


def test_a_discussion(api, running, base) -> None:
    bob = running.api("bob")
    begun = bob.create_discussion(base, "A question", description="Why?")
    assert (begun.num, begun.status, begun.author) == (1, "open", "bob")
    assert begun.events[0].content == "Why?"
    said = api.comment_discussion(base, 1, "Because.")
    assert (said.content, said.author) == ("Because.", "alice")
    assert api.edit_discussion_comment(base, 1, said.id, "Since.").edited
    with pytest.raises(HfHubHTTPError, match="Only who wrote"):
        bob.edit_discussion_comment(base, 1, said.id, "No.")
    assert bob.rename_discussion(base, 1, "Another question").new_title == "Another question"
    with pytest.warns(UserWarning, match="irreversible"):
        assert api.hide_discussion_comment(base, 1, said.id).hidden
    with pytest.raises(HfHubHTTPError, match="hidden"):
        api.edit_discussion_comment(base, 1, said.id, "again")
    changed = api.change_discussion_status(base, 1, "closed", comment="done")
    assert changed.new_status == "closed"
    shown = api.get_discussion_details(base, 1)
    assert [event.type for event in shown.events] == [
        *("comment", "comment", "title-change", "comment", "status-change")
    ]
    assert "Since." not in str([event._event for event in shown.events])
    running.api("walter").create_discussion(base, "of walter", description="x")
    with pytest.raises(HfHubHTTPError, match="for walter"):
        bob.change_discussion_status(base, 2, "closed")


def test_lists_of_discussions(api, running, base, monkeypatch) -> None:
    for module in ("fin_qlora_hub.repositories.discussions", "fin_qlora_hub.routes.discussions"):
        monkeypatch.setattr(f"{module}.PAGE", 3)
    for number in range(7):
        api.create_discussion(base, f"number {number}", description="d")
    running.api("bob").create_discussion(base, "of bob", description="d")
    api.create_pull_request(base, "request", description="d")
    api.change_discussion_status(base, 2, "closed")

    def nums(**options) -> list[int]:
        return [found.num for found in api.get_repo_discussions(base, **options)]

    assert nums() == list(range(9, 0, -1))
    assert nums(discussion_type="pull_request") == [9]
    assert nums(discussion_type="discussion") == list(range(8, 0, -1))
    assert nums(discussion_status="closed") == [2]
    assert 2 not in nums(discussion_status="open")
    assert nums(author="bob") == [8]


def test_a_pull_request_from_beginning_to_merge(api, running, base) -> None:
    walter = running.api("walter")
    made = walter.create_commit(
        base,
        [add("a", b"2\n"), CommitOperationDelete("b"), add("v.bin", b"more weights")],
        commit_message="better",
        commit_description="why",
        create_pr=True,
    )
    assert (made.pr_num, made.pr_revision) == (1, "refs/pr/1")
    assert read(running, base, "a") == b"1\n"
    assert read(running, base, "a", "refs/pr/1") == b"2\n"
    refs = api.list_repo_refs(base, include_pull_requests=True)
    assert [(ref.ref, ref.target_commit) for ref in refs.pull_requests] == [("refs/pr/1", made.oid)]
    walter.upload_file(path_or_fileobj=b"c", path_in_repo="c", repo_id=base, revision="refs/pr/1")
    shown = api.get_discussion_details(base, 1)
    assert (shown.title, shown.status, shown.target_branch) == ("better", "open", "refs/heads/main")
    assert [event.type for event in shown.events] == ["comment", "commit", "commit"]
    assert shown.conflicting_files == []
    assert "-1\n+2\n" in shown.diff
    assert "Binary files" in shown.diff
    api.upload_file(path_or_fileobj=b"d", path_in_repo="d", repo_id=base)  # main goes on
    api.merge_pull_request(base, 1, comment="good")
    merged = api.get_discussion_details(base, 1)
    assert merged.status == "merged"
    assert merged.merge_commit_oid == api.model_info(base).sha
    assert set(api.list_repo_files(base)) == {".gitattributes", *("a", "c", "d", "v.bin", "w.bin")}
    assert read(running, base, "v.bin") == b"more weights"
    assert api.list_repo_commits(base)[0].title == "better (#1)"
    for act in (
        lambda: api.merge_pull_request(base, 1),
        lambda: api.change_discussion_status(base, 1, "open"),
        lambda: api.upload_file(
            path_or_fileobj=b"e", path_in_repo="e", repo_id=base, revision="refs/pr/1"
        ),
    ):
        with pytest.raises(BadRequestError):
            act()


def test_a_conflict_is_told_and_changes_nothing(api, running, base) -> None:
    api.create_commit(base, [add("a", b"mine\n")], commit_message="mine", create_pr=True)
    api.create_commit(base, [add("a", b"theirs\n")], commit_message="theirs")
    assert api.get_discussion_details(base, 1).conflicting_files == ["a"]
    with pytest.raises(HfHubHTTPError, match="changed meanwhile: a"):
        api.merge_pull_request(base, 1)
    assert read(running, base, "a") == b"theirs\n"
    assert api.get_discussion_details(base, 1).status == "open"
    # the same change on both sides is none
    api.create_commit(base, [add("a", b"mine\n")], commit_message="theirs too")
    api.merge_pull_request(base, 1)
    assert api.get_discussion_details(base, 1).status == "merged"


def test_a_request_from_an_older_commit(api, base) -> None:
    old = api.model_info(base).sha
    api.create_commit(base, [add("z")], commit_message="later")
    made = api.create_commit(
        base, [add("y")], commit_message="from before", create_pr=True, parent_commit=old
    )
    assert "z" not in api.list_repo_files(base, revision=made.pr_revision)
    api.merge_pull_request(base, made.pr_num)
    assert {"y", "z"} <= set(api.list_repo_files(base))


def test_a_folder_as_a_request(api, running, base, tmp_path) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights" * 1000)
    (tmp_path / "note.txt").write_text("text")
    made = api.upload_folder(folder_path=tmp_path, repo_id=base, create_pr=True)
    assert made.pr_revision == "refs/pr/1"
    assert "note.txt" not in api.list_repo_files(base)
    api.merge_pull_request(base, 1)
    assert read(running, base, "adapter_model.safetensors") == b"weights" * 1000


def test_a_failed_first_commit_opens_no_request(api, base) -> None:
    with pytest.raises(HfHubHTTPError):
        api.create_commit(
            base, [CommitOperationDelete("missing")], commit_message="bad", create_pr=True
        )
    assert list(api.get_repo_discussions(base)) == []


def test_who_may_what(running, base) -> None:
    carol, bob = running.http("carol"), running.http("bob")
    reader = running.http("alice-read")
    with carol, bob, reader:
        path = f"/api/models/{base}/discussions"
        body = {"title": "title", "description": "d"}
        assert carol.get(path).status_code == 404
        assert carol.post(path, json=body).status_code == 404
        assert reader.post(path, json=body).status_code == 403
        assert bob.post(path, json=body).json()["num"] == 1
        assert bob.post(f"{path}/1/merge", json={}).status_code == 403
        assert reader.post(f"{path}/1/comment", json={"comment": "c"}).status_code == 403
        assert bob.get(f"{path}/2").status_code == 404
        assert bob.get(f"{path}/{10**30}").status_code == 404
        for bad in ({"title": "", "description": "d"}, {"title": "t" * 400, "description": "d"}):
            assert bob.post(path, json=bad).status_code == 400
        assert bob.post(f"{path}/1/comment", json={"comment": " "}).status_code == 400
        assert (
            bob.post(f"{path}/1/comment/{'0' * 24}/edit", json={"content": "x"}).status_code == 404
        )


def test_a_pull_request_whose_target_is_gone_can_still_be_read(api, repository) -> None:
    api.create_branch(repository, branch="side")
    made = api.upload_file(
        path_or_fileobj=b"x",
        path_in_repo="x.txt",
        repo_id=repository,
        revision="side",
        create_pr=True,
    )
    api.delete_branch(repository, branch="side")
    found = api.get_discussion_details(repository, made.pr_num)
    assert (found.status, found.conflicting_files) == ("open", [])
    with pytest.raises(HfHubHTTPError):
        api.merge_pull_request(repository, made.pr_num)
