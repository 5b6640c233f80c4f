"""An S3 server on this machine, moto's, for checks and for the tests of the Python module."""

import contextlib
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

PROGRAM = Path(__file__).resolve().parent.parent / "target/stores/bin/moto_server"  # which .ci/run installs
LOGIN = "AWS4-HMAC-SHA256 Credential=x/20261129/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x"


def ask(port, method, path):
    """The body of the answer to a request, with a signature that moto does not check."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{path}", method=method, headers={"Authorization": LOGIN})
    with urllib.request.urlopen(request) as answer:
        return answer.read()


def login(port):
    """The environment that has limpid log in."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }


@contextlib.contextmanager
def s3_server(bucket, program=PROGRAM):
    """Runs the server with a bucket, and gives its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for left in reversed(range(600)):
            try:
                ask(port, "PUT", bucket)
                break
            except OSError:
                if left == 0:
                    raise
                time.sleep(0.1)
        yield port
    finally:
        server.kill()
        server.wait()
