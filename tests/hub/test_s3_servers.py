"""What the other tests believe of the servers that play S3, and of the bad way to them."""

import httpx
import pytest
from botocore.exceptions import ClientError
from faulty_proxy import FaultyProxy
from waiting import wait_until

BYTES = b"0123456789" * 10


@pytest.fixture(params=["moto", "swift"])
def server(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def bucket(server):
    name = server.new_bucket()
    for key in ("one", "two"):
        server.client().put_object(Bucket=name, Key=key, Body=BYTES)
    return name


def signed(server, bucket, act="get_object", *, seconds=60, key="one", **parameters):
    parameters = {"Bucket": bucket, "Key": key, **parameters}
    return server.client().generate_presigned_url(act, Params=parameters, ExpiresIn=seconds)


def test_both_servers_keep_list_copy_and_take_away(server, bucket):
    s3 = server.client()
    s3.copy_object(Bucket=bucket, Key="three", CopySource={"Bucket": bucket, "Key": "one"})
    s3.delete_object(Bucket=bucket, Key="two")
    keys = [found["Key"] for found in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert keys == ["one", "three"]
    part = s3.get_object(Bucket=bucket, Key="three", Range="bytes=3-5")
    assert part["Body"].read() == b"345"


def test_both_servers_make_one_object_of_parts(server, bucket):
    s3 = server.client()
    begun = s3.create_multipart_upload(Bucket=bucket, Key="whole")["UploadId"]
    place = {"Bucket": bucket, "Key": "whole", "UploadId": begun}
    parts = []
    for number, body in enumerate([bytes(5 << 20), b"end"], start=1):
        sent = s3.upload_part(**place, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": sent["ETag"]})
    s3.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket=bucket, Key="whole")["Body"].read() == bytes(5 << 20) + b"end"


def test_both_servers_refuse_to_replace_where_they_are_asked_not_to(server, bucket):
    with pytest.raises(ClientError, match="PreconditionFailed"):
        server.client().put_object(Bucket=bucket, Key="one", Body=b"", IfNoneMatch="*")


def test_swift_checks_what_is_signed_and_moto_does_not(server, bucket):
    url = signed(server, bucket)
    assert httpx.get(url).content == BYTES
    forged = url[:-4] + ("0000" if url[-4:] != "0000" else "1111")
    expected = {"moto": 200, "swift": 403}[server.name]
    assert httpx.get(forged).status_code == expected
    assert httpx.get(url.replace("/one?", "/two?")).status_code == expected


def test_swift_checks_the_range_that_is_signed(swift):
    bucket = swift.new_bucket()
    swift.client().put_object(Bucket=bucket, Key="one", Body=BYTES)
    url = signed(swift, bucket, Range="bytes=0-9")
    assert httpx.get(url, headers={"Range": "bytes=0-9"}).content == BYTES[:10]
    assert httpx.get(url, headers={"Range": "bytes=0-19"}).status_code == 403
    assert httpx.get(url).status_code == 403


def test_swift_lets_an_address_end(swift):
    bucket = swift.new_bucket()
    swift.client().put_object(Bucket=bucket, Key="one", Body=BYTES)
    url = signed(swift, bucket, seconds=1)
    assert wait_until(lambda: httpx.get(url).status_code == 403)
    assert b"expired" in httpx.get(url).content


def test_an_address_to_send_to_is_for_one_key_and_one_act(swift):
    bucket = swift.new_bucket()
    url = signed(swift, bucket, "put_object", key="new")
    assert httpx.get(url).status_code == httpx.delete(url).status_code == 403
    assert httpx.put(url.replace("/new?", "/other?"), content=b"sent").status_code == 403
    assert httpx.put(url, content=b"sent").status_code == 200
    assert swift.client().get_object(Bucket=bucket, Key="new")["Body"].read() == b"sent"


def calls(proxy, server, bucket, count):
    """How each of some calls through the proxy ends, without a second try."""
    url = signed(server, bucket).replace(server.url, proxy.url)
    ends = []
    with httpx.Client() as http:
        for _ in range(count):
            try:
                ends.append(http.get(url).status_code)
            except httpx.TransportError:
                ends.append(0)
    return ends


def test_the_bad_way_fails_one_call_in_ten_and_the_same_ones_each_time(moto):
    bucket = moto.new_bucket()
    moto.client().put_object(Bucket=bucket, Key="one", Body=BYTES)
    ends = []
    for _ in range(2):
        with FaultyProxy(moto.port, seed=7) as proxy:
            assert set(calls(proxy, moto, bucket, 10)) == {200}
            proxy.fail(one_in=10)
            ends.append(calls(proxy, moto, bucket, 120))
            assert len(proxy.failed) == sum(end != 200 for end in ends[-1])
    assert ends[0] == ends[1]
    assert set(ends[0]) == {0, 200, 500, 503}
    assert 5 < sum(end != 200 for end in ends[0]) < 25


def test_a_lost_answer_is_to_something_that_was_done(moto):
    bucket = moto.new_bucket()
    with FaultyProxy(moto.port) as proxy:
        proxy.fail(one_in=1, faults=("lost",))
        with pytest.raises(httpx.TransportError):
            httpx.put(f"{proxy.url}/{bucket}/one", content=BYTES)
    assert moto.client().get_object(Bucket=bucket, Key="one")["Body"].read() == BYTES


def test_a_server_is_gone_and_comes_back_where_it_was(swift):
    bucket = swift.new_bucket()
    with FaultyProxy(swift.port) as proxy:
        s3 = swift.client(endpoint_url=proxy.url)
        s3.put_object(Bucket=bucket, Key="one", Body=BYTES)
        proxy.out()
        with pytest.raises(httpx.ConnectError):
            httpx.get(proxy.url)
        proxy.back()
        assert s3.get_object(Bucket=bucket, Key="one")["Body"].read() == BYTES
