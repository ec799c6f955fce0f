#!/usr/bin/python3
"""A real S3 server for tests: Ceph's gateway on loopback, which checks signatures and what was
signed.

    radosgw.py COMMAND [ARGUMENT...]  runs COMMAND with AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID,
                                      AWS_SECRET_ACCESS_KEY and AWS_REGION set, and exits as it did

    with Radosgw() as s3:             the same for tests in Python: s3.endpoint, .access_key,
                                      .secret_key, .region, .env()
        s3.stop(); s3.start()         the gateway goes away at once and comes back with its objects
                                      on the same port; s3.freeze(), s3.thaw(): it stands still
    with Radosgw(tls=True) as s3:     on https; s3.ca_file (AWS_CA_BUNDLE) vouches for it

One monitor, one OSD that keeps everything in memory, one gateway; all on 127.0.0.1, in a temporary
folder. Both are gone when the command or the block ends, and also when this process is killed: a
guard waits for its end.
"""

import contextlib
import os
import pathlib
import secrets
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid

import skip
from ports import free_port

DEADLINE_S = 180  # of each step; a machine under load takes ten times as long as an idle one
PROGRAMS = ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw",
            "radosgw-admin")

CONFIG = """\
[global]
fsid = {fsid}
mon host = 127.0.0.1:{mon_port}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = {folder}/keyring
run dir = {folder}
admin socket = {folder}/$name.sock
log file = {folder}/$name.log
pid file =
crash dir = {folder}/crash
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
ms bind ipv6 = false
ms bind msgr1 = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon allow pool delete = true
mon max pg per osd = 1000
[mon]
mon data = {folder}/mon
paxos propose interval = 0.05
mon data avail warn = 1
mon data avail crit = 0
[osd]
osd data = {folder}/osd
osd objectstore = memstore
osd max object size = 1073741824
memstore device bytes = 8589934592
osd class load list = *
osd class default list = *
[client.rgw]
rgw frontends = beast {endpoint} tcp_nodelay=1
rgw dns name = localhost
rgw data = {folder}/rgw
rgw enable usage log = false
rgw run sync thread = false
rgw thread pool size = 64
"""


class RadosgwError(Exception):
    """The server did not start; the text holds the end of its logs."""


class Radosgw:
    """The server, between start and end of a `with` block."""

    def __init__(self, tls=False):
        self.tls = tls
        self.ca_file = None
        self.region = "us-east-1"
        self.access_key = "AK" + secrets.token_hex(9).upper()
        self.secret_key = secrets.token_hex(20)
        self.folder = None
        self.port = None
        self._daemons = {}
        self._guard = None

    @staticmethod
    def missing():
        """Why it cannot run here; None: it can."""
        programs = [program for program in PROGRAMS if not shutil.which(program)]
        return f"no Ceph (scripts/setup test): {', '.join(programs)}" if programs else None

    @property
    def endpoint(self):
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    def env(self):
        """os.environ, and what S3 clients look for."""
        own = ",".join(filter(None, [os.environ.get("no_proxy"), "127.0.0.1", "localhost"]))
        return os.environ | {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "no_proxy": own,
            "NO_PROXY": own,
        } | ({"AWS_CA_BUNDLE": str(self.ca_file)} if self.tls else {})

    def __enter__(self):
        try:
            self._set_up()
        except BaseException:
            self._tear_down()
            raise
        return self

    def __exit__(self, *_):
        self._tear_down()

    def stop(self):
        """The gateway is gone at once, as when its machine fails; what it stored stays."""
        self._end("rgw", signal.SIGKILL)

    def start(self):
        self._start_gateway()

    def freeze(self):
        """Connections stay open, nothing is answered. Returns when every thread stands still."""
        daemon = self._daemons["rgw"]
        daemon.send_signal(signal.SIGSTOP)
        threads = pathlib.Path(f"/proc/{daemon.pid}/task")
        while any((t / "stat").read_text().rpartition(")")[2].split()[0] != "T"
                  for t in threads.iterdir()):
            time.sleep(0.01)

    def thaw(self):
        self._daemons["rgw"].send_signal(signal.SIGCONT)

    # ---- from here on: inner matters ----

    def _set_up(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="msaas-radosgw-"))
        # Its end of the pipe closes when this process ends, however that happens.
        self._guard = subprocess.Popen(
            [sys.executable, __file__, "--guard", self.folder],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        mon_port, self.port = free_port(), free_port()
        fsid = str(uuid.uuid4())
        self.config = self.folder / "ceph.conf"
        endpoint = f"endpoint=127.0.0.1:{self.port}"
        if self.tls:
            key = self.folder / "key.pem"
            self.ca_file = self.folder / "ca.pem"
            self._run(
                "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-nodes", "-days", "2",
                "-subj", "/CN=test", "-addext",
                "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:*.localhost",
                "-keyout", key, "-out", self.ca_file,
            )
            endpoint = f"ssl_{endpoint} ssl_certificate={self.ca_file} ssl_private_key={key}"
        self.config.write_text(
            CONFIG.format(fsid=fsid, folder=self.folder, mon_port=mon_port, endpoint=endpoint)
        )
        for name in ("mon", "osd", "rgw", "crash"):
            (self.folder / name).mkdir()

        keyring = self.folder / "keyring"
        self._run("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap",
                  "mon", "allow *")
        for name, caps in (
            ("client.admin", ["mon", "osd", "mgr", "mds"]),
            ("client.rgw", ["mon", "osd"]),
            ("osd.0", ["mon", "osd", "mgr"]),
        ):
            allow = "allow profile osd" if name == "osd.0" else "allow *"
            own = [part for cap in caps
                   for part in ("--cap", cap, "allow *" if cap == "osd" else allow)]
            self._run("ceph-authtool", keyring, "--gen-key", "-n", name, *own)
        monmap = self.folder / "monmap"
        self._run("monmaptool", "--create", "--addv", "a", f"[v2:127.0.0.1:{mon_port}]", "--fsid",
                  fsid, monmap)
        self._run("ceph-mon", "-c", self.config, "--mkfs", "-i", "a", "--monmap", monmap,
                  "--keyring", keyring)
        self._start("mon", "ceph-mon", "-c", self.config, "-f", "-i", "a")

        osd = str(uuid.uuid4())
        self._run("ceph", "-c", self.config, "osd", "new", osd)
        self._run("ceph-osd", "-c", self.config, "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._start("osd", "ceph-osd", "-c", self.config, "-f", "-i", "0")
        self._start_gateway()
        self._run(
            "radosgw-admin", "-c", self.config, "-n", "client.rgw", "user", "create", "--uid=test",
            "--display-name=test", f"--access-key={self.access_key}",
            f"--secret-key={self.secret_key}",
        )

    def _start_gateway(self):
        self._start("rgw", "radosgw", "-c", self.config, "-f", "-n", "client.rgw")
        deadline = time.monotonic() + DEADLINE_S
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=self.ca_file)),
        )
        while True:
            try:
                opener.open(self.endpoint, timeout=5).close()
                return
            except urllib.error.HTTPError:
                return  # it answers
            except OSError:
                if self._daemons["rgw"].poll() is not None:
                    raise RadosgwError(f"radosgw ended\n{self._logs()}") from None
                if time.monotonic() > deadline:
                    raise RadosgwError(f"radosgw does not answer\n{self._logs()}") from None
                time.sleep(0.05)

    def _run(self, *command):
        run = subprocess.run(
            [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=DEADLINE_S, text=True, errors="replace", check=False,
        )
        if run.returncode != 0:
            raise RadosgwError(f"{command[0]} failed:\n{run.stdout[-2000:]}\n{self._logs()}")

    def _start(self, name, *command):
        output = (self.folder / f"{name}.out").open("ab")
        with output:
            self._daemons[name] = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output,
                stderr=output
            )

    def _end(self, name, how):
        daemon = self._daemons.pop(name, None)
        if daemon is not None:
            daemon.send_signal(how)
            daemon.wait()

    def _logs(self):
        return "".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-1500:]}\n"
            for path in sorted([*self.folder.glob("*.out"), *self.folder.glob("*.log")])
        )

    def _tear_down(self):
        for name in list(self._daemons):
            self._end(name, signal.SIGKILL)  # nothing of theirs is to be kept
        if self._guard is not None:
            self._guard.communicate()  # it removes the folder
            self._guard = None


def guard(folder):
    """Waits for the end of the process that started it, and leaves nothing behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin.buffer.read()
    mark = os.fsencode(f"{folder}/ceph.conf")
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and mark in (entry / "cmdline").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
    deadline = time.monotonic() + DEADLINE_S
    while os.path.lexists(folder) and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)  # what was just killed may still be writing
        time.sleep(0.05)


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--guard":
        guard(sys.argv[2])
        return 0
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    if missing := Radosgw.missing():
        skip.whole(missing)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with Radosgw() as s3:
        return subprocess.run(sys.argv[1:], env=s3.env(), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
