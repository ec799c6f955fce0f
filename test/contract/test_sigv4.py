#!/usr/bin/python3
"""The signer against botocore's on random requests: Unicode keys, odd queries, session tokens,
headers with odd white space, presigned URLs. Usage: test_sigv4.py SIGV4_TOOL [SEED]"""

import random
import re
import subprocess
import sys
import unittest
import urllib.parse

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

REQUESTS = 400
TOOL = sys.argv.pop(1)
SEED = int(sys.argv.pop(1)) if len(sys.argv) > 1 else 20130524
LETTERS = "abcXYZ019-._~ /+=&%?#:;,@!$'()*[]{}|^`\"<>\\éßΩ中😀"


def text(rng, letters, low, high):
    return "".join(rng.choice(letters) for _ in range(rng.randint(low, high)))


def quote(part, safe=""):
    return urllib.parse.quote(part, safe=safe + "-._~")


def make(rng, presign):
    """One request: all that goes into its signature. In URLs botocore takes a parameter once
    only."""
    region = rng.choice(["us-east-1", "eu-central-1", "default", "a"])
    host = rng.choice(["127.0.0.1:8000", "bucket.s3.amazonaws.com", "[::1]:9",
                       "s3.eu-central-1.amazonaws.com"])
    query = []
    for _ in range(rng.choice([0, 0, 1, 2, 3, 8])):
        name = rng.choice(["uploads", "prefix", "partNumber", "uploadId", "a", "A", "a-", "a0",
                           text(rng, LETTERS, 1, 9)])
        if presign and any(part.startswith(f"{quote(name)}=") for part in query):
            continue
        query.append(f"{quote(name)}={quote(text(rng, LETTERS, 0, 12))}" if rng.random() < 0.8
                     else f"{quote(name)}=")
    headers = {}
    for _ in range(rng.randint(0, 5)):
        name = rng.choice(["Range", "Content-Type", "x-amz-meta-sha256", "X-Amz-Storage-Class",
                           "If-Match", "Date2", "x-amz-a"])
        headers[name] = text(rng, "abcXYZ  \t019:;=\"/,", 1, 30).strip() or "-"
    payload = rng.choice(["UNSIGNED-PAYLOAD", f"{rng.getrandbits(256):064x}"])
    return {
        "method": rng.choice(["GET", "PUT", "HEAD", "DELETE", "POST"]),
        "host": host,
        "path": "/" + quote(text(rng, LETTERS, 0, 40), "/"),
        "query": "&".join(query),
        "headers": headers,
        "payload": payload,
        "region": region,
        "access": text(rng, "ABCXYZ0189", 16, 24),
        "secret": text(rng, "abcXYZ0189/+", 1, 90),
        "token": text(rng, "abcXYZ0189/+=", 20, 400) if rng.random() < 0.4 else None,
        "expires": rng.randint(1, 604800),
    }


def botocore_signs(one, presign):
    credentials = Credentials(one["access"], one["secret"], one["token"])
    url = f"http://{one['host']}{one['path']}" + (f"?{one['query']}" if one["query"] else "")
    headers = dict(one["headers"]) if not presign else {}
    request = AWSRequest(method=one["method"], url=url, headers=headers, data=b"")
    if presign:
        signer = botocore.auth.S3SigV4QueryAuth(credentials, "s3", one["region"],
                                                expires=one["expires"])
    else:
        signer = botocore.auth.S3SigV4Auth(credentials, "s3", one["region"])
        signer.payload = lambda _: one["payload"]
    signer.add_auth(request)
    return request


def line_of(one, presign, date, headers):
    return "\t".join(
        ["presign" if presign else "authorization", one["method"], one["host"], one["path"],
         one["query"],
         "UNSIGNED-PAYLOAD" if presign else one["payload"], one["region"], "s3", one["access"],
         one["secret"],
         one["token"] or "", date, str(one["expires"]), *headers]
    )


def fields(authorization):
    """Compared part by part: whether a space follows the commas means nothing."""
    return [part.strip() for part in authorization.split(" ", 1)[1].split(",")]


class AgainstBotocore(unittest.TestCase):
    def test_random_requests(self):
        rng = random.Random(SEED)
        kinds = [rng.random() < 0.3 for _ in range(REQUESTS)]
        requests = [(make(rng, presign), presign) for presign in kinds]
        signed = [botocore_signs(*request) for request in requests]
        lines = []
        for (one, presign), theirs in zip(requests, signed):
            # What botocore adds (date, digest, token) is among the headers that the caller of our
            # signer gives.
            headers = [f"{name}: {value.replace(chr(9), ' ')}"
                       for name, value in theirs.headers.items() if name != "Authorization"]
            own = theirs.headers.get("X-Amz-Date") or re.search("X-Amz-Date=([0-9TZ]+)",
                                                                theirs.url)[1]
            lines.append(line_of(one, presign, own, [] if presign else headers))
        run = subprocess.run(
            [TOOL], input="\n".join(lines) + "\n", capture_output=True, text=True, encoding="utf-8",
            check=True, timeout=120
        )
        ours = run.stdout.splitlines()
        self.assertEqual(len(ours), REQUESTS)
        for number, ((one, presign), theirs, own) in enumerate(zip(requests, signed, ours)):
            with self.subTest(number=number, seed=SEED, request=one):
                if presign:
                    wanted = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(theirs.url).query,
                                                         keep_blank_values=True))
                    self.assertEqual(dict(urllib.parse.parse_qsl(own, keep_blank_values=True)),
                                     wanted)
                else:
                    self.assertEqual(fields(own), fields(theirs.headers["Authorization"]))
        self.assertGreater(sum(presign for _, presign in requests), 80)
        self.assertGreater(sum(one["token"] is not None for one, _ in requests), 80)


if __name__ == "__main__":
    unittest.main()
