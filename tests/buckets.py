"""An S3 server on this machine, moto's, with a user whose keys are in the environment. Others are refused."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REGION = "eu-central-1"
_POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


@dataclass(frozen=True)
class Bucket:
    """A bucket and what a program needs to reach it."""

    name: str
    client: Any
    environment: dict[str, str]

    def put(self, folder: Path, under: str) -> str:
        """Upload what is in a folder; return its address."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.client.upload_file(str(file), self.name, f"{under}/{file.relative_to(folder).as_posix()}")
        return f"s3://{self.name}/{under}"


def _tell(endpoint: str, what: str, text: bytes) -> None:
    address, headers = f"{endpoint}/moto-api/{what}", {"Content-Type": "text/plain"}
    with urllib.request.urlopen(urllib.request.Request(address, text, headers), timeout=10):
        pass


@contextmanager
def bucket() -> Iterator[Bucket]:
    """Start the server with an empty bucket."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    try:
        first = {
            "endpoint_url": endpoint,
            "region_name": REGION,
            "aws_access_key_id": "first",
            "aws_secret_access_key": "first",
        }
        iam = boto3.client("iam", **first)
        iam.create_user(UserName="training")
        iam.put_user_policy(UserName="training", PolicyName="all", PolicyDocument=json.dumps(_POLICY))
        keys = iam.create_access_key(UserName="training")["AccessKey"]
        _tell(endpoint, "reset-auth", b"0")  # from now on it wants signatures by known keys
        environment = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
        }
        client = boto3.client(
            "s3", endpoint_url=endpoint, region_name=REGION, aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        )  # fmt: skip
        client.create_bucket(Bucket="cases", CreateBucketConfiguration={"LocationConstraint": REGION})
        yield Bucket("cases", client, environment)
    finally:
        _tell(endpoint, "reset-auth", b"inf")
        _tell(endpoint, "reset", b"")  # what moto keeps is the process's, and outlives the server
        server.stop()
