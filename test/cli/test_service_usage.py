#!/usr/bin/python3
"""The service's commands without a service: help, what they refuse at start and how they say it,
what config shows, up without what it needs, and up's children."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import time

import cli

COMMANDS = ("up", "serve", "work", "logs", "submit", "status", "fetch", "mix", "queue", "rm",
            "health", "config")
IDENT = "0123456789abcdef" * 3 + "01234567"


class Help(cli.ServiceCase):
    def test_a_reader_that_stops(self):
        read, write = os.pipe()
        os.close(read)
        for command in (["config", "--help"], ["help"], ["config"]):
            _, err = self.run_msaas(*command, stdout=write, expect=1)
            self.assertEqual(err, "")
        os.close(write)

    def test_of_every_command(self):
        overview = self.run_msaas("--help")[0]
        for command in COMMANDS:
            with self.subTest(command=command):
                out, err = self.run_msaas(command, "--help")
                self.assertEqual(err, "")
                self.assertIn(f"Usage: msaas {command}", out)
                self.assertRegex(out, r"Examples?:\n  ")
                self.assertIn("xit code", " ".join(out.split()))
                self.assertLessEqual(max(map(len, out.splitlines())), 90)
                self.assertRegex(overview, rf"(?m)^  {command} +\S")
                self.assertEqual(self.run_msaas("help", command)[0], out)


class Services(cli.ServiceCase):
    """What is missing or contradicts itself ends them at once, in one line that names option and
    variable."""

    S3 = {"MSAAS_QUEUE": "sqlite:q.db", "MSAAS_STORE": "s3://", "AWS_ACCESS_KEY_ID": "me",
          "AWS_SECRET_ACCESS_KEY": "hush"}
    FILE = {"MSAAS_QUEUE": "sqlite:q.db", "MSAAS_STORE": "file:objects"}

    def test_missing(self):
        for command in ("serve", "work", "logs"):
            self.assertRegex(self.message(command), "--queue .*MSAAS_QUEUE")
        for command in ("serve", "work"):
            self.assertRegex(self.message(command, REDIS_HOST="127.0.0.1"), "--store .*MSAAS_STORE")
            for name, option in (("AWS_ACCESS_KEY_ID", "--s3-access-key"),
                                 ("AWS_SECRET_ACCESS_KEY", "--s3-secret-key-file")):
                without = {key: value for key, value in self.S3.items() if key != name}
                self.assertRegex(self.message(command, **without), f"{option} .*{name}")

    def test_wrong(self):
        for arguments, variables, says in [
            (["serve"], {**self.FILE, "MSAAS_QUEUE": "ftp://x"}, "MSAAS_QUEUE .--queue.: "),
            (["work"], {**self.FILE, "MSAAS_QUEUE": "nonsense"}, "MSAAS_QUEUE .--queue.: "),
            (["serve", "--queue", "nonsense"], self.FILE, "--queue .MSAAS_QUEUE.: "),
            (["logs"], {"REDIS_HOST": "h", "REDIS_PORT": "abc"}, "REDIS_PORT .--queue.: .*65535"),
            (["logs"], {"REDIS_HOST": "redis://h"}, "REDIS_HOST .--queue.: .*no URL"),
            (["serve"], {**self.FILE, "MSAAS_STORE": "what:"}, "MSAAS_STORE .--store.: "),
            (["work"], {**self.FILE, "MSAAS_STORE": "objects"}, "MSAAS_STORE .--store.: "),
            (["work"], {**self.S3, "MINIO_HOST": "http://h:9000"},
             "MINIO_HOST .--s3-endpoint.: .*no URL"),
            (["serve"], {**self.S3, "MINIO_HOST": "h:x"}, "MINIO_HOST .--s3-endpoint.: "),
            (["work"], {**self.S3, "MINIO_ENDPOINT": "http://h:9000"},
             "MINIO_ENDPOINT .--s3-endpoint.: .*no URL"),
            (["serve"], {**self.S3, "AWS_ENDPOINT_URL": "minio:9000"},
             "AWS_ENDPOINT_URL .--s3-endpoint.: .*http://"),
            (["serve", "--s3-endpoint", "minio:9000"], self.S3,
             "--s3-endpoint .AWS_ENDPOINT_URL_S3.: .*http://"),
            (["work", "--s3-endpoint", "http://http://h:9000"], self.S3,
             "--s3-endpoint .AWS_ENDPOINT_URL_S3.: .*http://"),
            (["work", "--s3-endpoint", "http://h:99999"], self.S3,
             "--s3-endpoint .AWS_ENDPOINT_URL_S3.: .*http://"),
            (["work", "--s3-ca-file", "nofile"], self.S3,
             "--s3-ca-file .AWS_CA_BUNDLE.: nofile: No such file"),
            (["serve"], {**self.S3, "AWS_CA_BUNDLE": __file__},
             "AWS_CA_BUNDLE .--s3-ca-file.: .*PEM"),
            (["serve"], {**self.S3, "AWS_CA_BUNDLE": "/"},
             "AWS_CA_BUNDLE .--s3-ca-file.: /: Is a directory"),
            (["serve"], {**self.S3, "AWS_SECRET_ACCESS_KEY": "hush\n"},
             "AWS_SECRET_ACCESS_KEY .--s3-secret-key-file.: .*line break"),
            (["work", "--callback-allow", "foo/8"], self.FILE,
             "--callback-allow .MSAAS_CALLBACK_ALLOW.: "),
            (["work"], {**self.FILE, "MSAAS_WEBHOOK_SECRET": "whsec_!!!"},
             "MSAAS_WEBHOOK_SECRET .--webhook-secret-file.: "),
            (["work"], {**self.FILE, "MSAAS_DEVICE": "abacus"}, "MSAAS_DEVICE .--device.: "),
            (["serve", "--s3-endpoint", "http://x"], self.FILE, "--s3-endpoint .*--store s3://"),
            (["serve", "--presign", "60"], self.FILE, "--presign .MSAAS_PRESIGN. .*s3://"),
            (["up", "--workers", "0"], {}, "--workers: must be from 1"),
            (["health", "--json"], {},
             '--json is an option of other commands, not of "msaas health"'),
            (["serve", "--models", "tiny,,x"], self.FILE, "--models"),
            (["serve"], {**self.FILE, "MSAAS_PORT": "many"}, "MSAAS_PORT .--port.: "),
            (["serve", "--trusted-proxies", "10.0.0.0/33"], self.FILE,
             '--trusted-proxies .MSAAS_TRUSTED_PROXIES.: "10.0.0.0/33" is not an address'),
            (["serve", "--cors-origins", "https://a.example,b.example/x"], self.FILE,
             '--cors-origins .MSAAS_CORS_ORIGINS.: "b.example/x" is not an origin'),
            (["serve", "--max-connections", "0"], self.FILE, "--max-connections: must be from 1"),
            (["work"], {**self.FILE, "MSAAS_LEASE": "0"}, "MSAAS_LEASE .--lease.: "),
            (["work", "--device", "abacus"], self.FILE, "--device"),
            (["work"], {**self.FILE, "MSAAS_PRECISION": "float16"},
             "MSAAS_PRECISION .--precision.: .*auto.float32.bf16"),
            (["serve", "--precision", "bf16"], self.FILE,
             "--precision is an option of other commands"),
            (["submit", "--precision", "half", "x"], {},
             "--precision: must be one of auto.float32.bf16"),
            (["serve", "x"], self.FILE, '"x"'),
            (["work"], {**self.FILE, "MSAAS_S3_VIRTUAL_HOST": "maybe"}, "MSAAS_S3_VIRTUAL_HOST"),
        ]:
            with self.subTest(arguments=arguments, variables=variables):
                self.assertRegex(self.message(*arguments, **variables), says)

    def test_places_that_cannot_be_opened(self):
        """Of this machine, so that waiting mends nothing; and before the model, which none of these
        gets to see."""
        (self.folder / "folder").mkdir()
        text = "this is no data base, but long enough to be looked at"
        (self.folder / "text").write_text(text * 99)
        work = ["work", "--port", "0", "--model", "nonesuch"]
        for arguments, variables, says, code in [
            (["serve"], {**self.FILE, "MSAAS_QUEUE": "sqlite:/nonexist/q.db"},
             "MSAAS_QUEUE .--queue.: .*/nonexist/q.db: ", 2),
            (["serve"], {**self.FILE, "MSAAS_QUEUE": "sqlite:folder"},
             "MSAAS_QUEUE .--queue.: ", 2),
            (["logs", "--queue", "sqlite:folder"], {}, "--queue .MSAAS_QUEUE.: ", 2),
            (work, {**self.FILE, "MSAAS_QUEUE": "sqlite:folder"}, "MSAAS_QUEUE .--queue.: ", 2),
            (["logs", "--queue", "sqlite:text"], {}, "--queue .MSAAS_QUEUE.: ", 1),
            (["serve"], {**self.FILE, "MSAAS_STORE": "file:text"}, "MSAAS_STORE .--store.: ", 2),
            (work, {**self.FILE, "MSAAS_STORE": "file:/proc/nowhere"},
             "MSAAS_STORE .--store.: ", 2),
            (work + ["--scratch", "/proc/x"], self.FILE, "--scratch .MSAAS_SCRATCH.: ", 1),
        ]:
            with self.subTest(arguments=arguments, variables=variables):
                self.assertRegex(self.message(*arguments, expect=code, **variables), says)

    def test_address_of_another(self):
        for command in (["serve"], ["work"], ["up", "--data", "data"]):
            message = self.message(*command, "--host", "192.0.2.1", **self.FILE)
            self.assertRegex(message, "--host.*192.0.2.1.*address")
            self.assertNotIn("another port", message)

    def test_unknown_model(self):
        for command in (["serve"], ["work", "--port", "0"], ["up"]):
            said = self.message(*command, "--model", "nonesuch", expect=1, **self.FILE)
            self.assertIn("nonesuch", said)
            self.assertIn("htdemucs, htdemucs_6s, htdemucs_ft", said)
            self.assertNotIn("pull nonesuch", said)
        # serve can offer a published model without having it
        said = self.message("work", "--model", "htdemucs_6s", expect=1, **self.FILE)
        self.assertIn("msaas model pull htdemucs_6s", said)

    def test_secrets_stay_off_the_command_line(self):
        message = self.message("work", "--webhook-secret", "hunter2", **self.FILE)
        self.assertIn("MSAAS_WEBHOOK_SECRET", message)
        self.assertIn("--webhook-secret-file", message)
        self.assertNotIn("hunter2", message)
        for name, value in (("queue", "redis://me:hunter2@h/0"), ("queue", "redis://:hunter2@["),
                            ("s3-endpoint", "https://me:hunter2@h")):
            message = self.message("serve", f"--{name}", value, **self.S3)
            self.assertRegex(message, "the command line.*(MSAAS_QUEUE|AWS_ENDPOINT_URL_S3)")
            self.assertNotIn("hunter2", message)
        self.assertIn("MSAAS_SERVER",
                      self.message("status", "--server", "http://me:hunter2@h", IDENT))

    def test_no_error_shows_what_may_be_a_secret(self):
        for command, variables in (
            (["logs"], {"MSAAS_QUEUE": "me:hunter2@h"}),
            (["logs"], {"MSAAS_QUEUE": "redis://me:hunter2@h:x"}),
            (["logs"], {"REDIS_HOST": "me:hunter2@h"}),
            (["logs"], {"REDIS_HOST": "h", "REDIS_PORT": "hunter2"}),
            (["serve"], {**self.FILE, "MSAAS_STORE": "https://me:hunter2@h"}),
            (["serve", "--s3-endpoint", "http://h"],
             {**self.FILE, "MSAAS_STORE": "https://me:hunter2@h"}),
            (["work"], {**self.S3, "AWS_ENDPOINT_URL": "http://me:hunter2@h"}),
            (["work"], {**self.S3, "MINIO_HOST": "me:hunter2@h"}),
            (["work"], {**self.FILE, "MSAAS_WEBHOOK_SECRET": "whsec_hunter2"}),
            (["queue"], {"MSAAS_SERVER": "me:hunter2@h"}),
        ):
            with self.subTest(command=command, variables=variables):
                self.assertNotIn("hunter2", self.message(*command, **variables))

    def test_taken_port(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            for command in (["serve"], ["up", "--data", "data"]):
                message = self.message(*command, "--host", "127.0.0.1", "--port", port, **self.FILE)
                self.assertIn(port, message)
                self.assertIn("--port", message)
            message = self.message("work", "--host", "127.0.0.1", "--port", port, **self.FILE)
            self.assertIn("MSAAS_WORKER_PORT", message)

    def test_up_without_a_place(self):
        self.assertIn("/proc/nowhere", self.message("up", "--data", "/proc/nowhere", expect=1))


class Config(cli.ServiceCase):
    def config(self, *arguments, **variables):
        self.variables = variables
        return json.loads(self.run_msaas("config", *arguments, "--json")[0])

    def test_where_values_come_from(self):
        serve = self.config("serve", "--port", "80", REDIS_HOST="redis", MSAAS_LINGER="3")["serve"]
        self.assertEqual(serve["port"], {"value": "80", "from": "command line"})
        self.assertEqual(serve["queue"]["value"], "redis://redis:6379/0")
        self.assertIn("REDIS_HOST", serve["queue"]["from"])
        self.assertEqual(serve["linger"], {"value": "3", "from": "environment: MSAAS_LINGER"})
        self.assertEqual(serve["grace"]["from"], "default")
        self.assertEqual(serve["store"], {"value": None, "from": "not set"})

    def test_what_is_used_where_nothing_was_said(self):
        home = {"HOME": "/home/me", "TMPDIR": "/scratch", "AWS_REGION": "eu-1",
                "MSAAS_STORE": "s3://"}
        serve = self.config("serve", **home)["serve"]
        self.assertEqual(serve["host"], {"value": "0.0.0.0", "from": "default"})
        self.assertEqual(serve["models"], {"value": "tiny", "from": "default"})
        self.assertEqual(serve["cache"], {"value": "/home/me/.cache/msaas", "from": "default"})
        self.assertEqual(serve["s3-endpoint"],
                         {"value": "https://s3.eu-1.amazonaws.com", "from": "default"})
        up = self.config("up", **home, MSAAS_MODELS_DIR="")["up"]
        for name, value in (("host", "127.0.0.1"), ("scratch", "/scratch/msaas"),
                            ("data", "/home/me/.local/share/msaas/data"),
                            ("models-dir", "/home/me/.local/share/msaas/models")):
            self.assertEqual(up[name], {"value": value, "from": "default"})
        self.assertEqual(self.config("work", MSAAS_SCRATCH="/s")["work"]["scratch"]["from"],
                         "environment: MSAAS_SCRATCH")
        self.assertEqual(self.config("work")["work"]["precision"]["value"], "auto")
        self.assertEqual(self.config("up", MSAAS_PRECISION="bf16")["up"]["precision"]["value"],
                         "bf16")
        self.assertFalse(self.files("."))

    def test_what_is_wrong_is_said_as_the_command_itself_would(self):
        for command, variables, code in (
            ("serve", {"MSAAS_QUEUE": "amqp://x", "MSAAS_STORE": "file:objects"}, 2),
            ("serve",
             {"MSAAS_QUEUE": "sqlite:q", "MSAAS_STORE": "file:objects", "MSAAS_MODELS": "tiny,,x"},
             2),
            ("work", {"MSAAS_QUEUE": "sqlite:q", "MSAAS_STORE": "s3://", "MINIO_HOST": "http://m"},
             2),
            ("work",
             {"MSAAS_QUEUE": "sqlite:q", "MSAAS_STORE": "file:objects",
              "MSAAS_WEBHOOK_SECRET": "whsec_!!!"}, 2),
            ("up", {"MSAAS_CALLBACK_ALLOW": "foo/8"}, 2),
            ("up", {"MSAAS_DEVICE": "abacus"}, 2),
        ):
            with self.subTest(command=command, variables=variables):
                self.variables = variables
                out, err = self.run_msaas("config", command, expect=code)
                self.assertIn(f"{command}:\n", out)
                self.assertEqual(err, self.message(command, expect=code, **variables))
        self.variables = {"MSAAS_QUEUE": "amqp://x"}
        out, err = self.run_msaas("config", "--json", expect=2)
        self.assertEqual(list(json.loads(out)), ["serve", "work", "logs"])
        self.assertEqual(err.count("\n"), 1)

    def test_logins_are_hidden_but_seen(self):
        for queue, shown in (
            ("redis://user:hunter2@h/0", "redis://***@h/0"),
            ("redis://:hunter2@h", "redis://***@h"),
            ("redis://user:hunt@hunter2@h", "redis://***@h"),
            ("redis://hunter2@h?hunter2", "redis://***@h"),
            ("me:hunter2@h", "***@h"), ("redis://h:hunter2", "(not a URL)"),
            ("sqlite:/home/me@h/q.db", "sqlite:/home/me@h/q.db"),
        ):
            with self.subTest(queue=queue):
                self.variables = {"MSAAS_QUEUE": queue}
                process = self.popen("config", "logs")
                with process:
                    out, err = process.communicate(timeout=cli.DEADLINE_S)
                self.assertIn(f" {shown}  (", out)
                self.assertNotIn("hunter2", out + err)

    def test_the_course_s_variables(self):
        redis = {"REDIS_HOST": "r", "REDIS_PORT": "7"}
        first = {"MINIO_HOST": "m:9000", "MINIO_USER": "u", "MINIO_PASSWD": "hush"}
        second = {"MINIO_ENDPOINT": "e:9000", "MINIO_ACCESS_KEY": "k", "MINIO_SECRET_KEY": "hush"}
        standard = {"AWS_ENDPOINT_URL": "http://s:1", "AWS_ACCESS_KEY_ID": "a",
                    "AWS_SECRET_ACCESS_KEY": "hush"}
        for names, endpoint, key, used in (
            (first, "http://m:9000", "u", first),
            (second, "http://e:9000", "k", second),
            ({**first, **second}, "http://m:9000", "u", first),
            ({**second, **standard}, "http://s:1", "a", standard),
        ):
            both = self.config(**redis, **names)
            self.assertEqual(list(both), ["serve", "work", "logs"])
            for command in ("serve", "work"):
                values = {name: row["value"] for name, row in both[command].items()}
                self.assertEqual(values["queue"], "redis://r:7/0")
                self.assertEqual(values["store"], "s3://")
                self.assertEqual(values["s3-endpoint"], endpoint)
                self.assertEqual(values["s3-access-key"], key)
                self.assertEqual(values["s3-secret-key-file"], "***")
                for option, variable in zip(("s3-endpoint", "s3-access-key", "s3-secret-key-file"),
                                            used, strict=True):
                    self.assertIn(variable, both[command][option]["from"])

    def test_no_secret_is_shown(self):
        secret = self.folder / "secret"
        secret.write_text("hunter2\n")
        self.variables = {
            "MSAAS_QUEUE": "redis://user:hunter2@redis:6379/0",
            "AWS_SECRET_ACCESS_KEY": "hunter2",
            "AWS_SESSION_TOKEN": "hunter2",
            "MSAAS_WEBHOOK_SECRET": "hunter2",
        }
        for arguments in ([], ["--json"], ["work"], ["work", "--webhook-secret-file", secret]):
            out, err = self.run_msaas("config", *arguments)
            self.assertIn("***", out)
            self.assertIn("redis:6379", out)
            self.assertNotIn("hunter2", out + err)

    def test_refusals(self):
        self.assertIn('"sing"', self.message("config", "sing"))
        self.assertIn("--port", self.message("config", "serve", "--port", "x"))


class Up(cli.ServiceCase):
    """Its children: they come back when they crash, and go when it goes."""

    def refused(self, *arguments, starts=False, expect=2, **variables):
        """Ends without a banner, and (unless `starts`) before anything runs: one line is all it
        says."""
        self.variables = variables
        out, err = self.run_msaas("up", "--data", "data", "--port", "0", *arguments, expect=expect)
        self.assertEqual(out, "")
        if not starts:
            self.assertEqual(err.count("\n"), 1, err)
        return err

    def test_what_is_wrong_is_found_before_anything_starts(self):
        self.assertIn("MSAAS_CALLBACK_ALLOW (--callback-allow): ",
                      self.refused(MSAAS_CALLBACK_ALLOW="foo/8"))
        self.assertIn("--callback-allow (MSAAS_CALLBACK_ALLOW): ",
                      self.refused("--callback-allow", "foo/8"))
        self.assertIn("MSAAS_WEBHOOK_SECRET (--webhook-secret-file): ",
                      self.refused(MSAAS_WEBHOOK_SECRET="whsec_!!!"))
        self.assertIn("MSAAS_DEVICE (--device): ", self.refused(MSAAS_DEVICE="abacus"))
        self.assertIn("--scratch (MSAAS_SCRATCH): ", self.refused("--scratch", "/proc/x", expect=1))
        # what is said of other stores and queues is none of its business
        self.assertIn("--device",
                      self.refused("--device", "abacus", MINIO_HOST="http://h", REDIS_HOST="h:h",
                                   AWS_CA_BUNDLE="no"))

    def test_a_worker_that_cannot_run_leaves_no_banner(self):
        """The model is what its JSON file promises in name only: no more than a worker finds that
        out."""
        models = self.folder / "models"
        models.mkdir()
        for file in self.models.iterdir():
            (models / file.name).write_bytes(file.read_bytes())
        weights = next(models.glob("*.safetensors"))
        weights.write_bytes(weights.read_bytes()[:-1] + b"?")
        err = self.refused("--models-dir", models, starts=True, expect=1)
        self.assertIn("work 1 cannot run", err)

    def start(self):
        log = (self.folder / "log").open("w")
        self.addCleanup(log.close)
        up = self.popen("up", "--data", "data", "--port", "0", "--grace", "5", stdout=log,
                        stderr=log)
        self.addCleanup(lambda: (up.kill(), up.wait()))
        self.until(lambda: up.poll() is not None
                   or ("curl" in self.text() and "worker ready" in self.text()))
        self.assertIsNone(up.poll(), self.text())
        return up

    def text(self):
        return (self.folder / "log").read_text()

    def children(self, up):
        """Their processes by command."""
        found = {}
        for pid in pathlib.Path(f"/proc/{up.pid}/task/{up.pid}/children").read_text().split():
            with contextlib.suppress(OSError):  # it is gone by now
                words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if len(words) > 1:
                    found[words[1].decode()] = int(pid)
        return found

    def until(self, condition):
        deadline = time.monotonic() + cli.DEADLINE_S
        while not condition():
            self.assertLess(time.monotonic(), deadline, self.text())
            time.sleep(0.05)

    def test_crashed_children_come_back_and_the_end_is_orderly(self):
        up = self.start()
        for command, says in (("work", "worker ready"), ("serve", "listening on")):
            before = self.children(up)[command]
            os.kill(before, signal.SIGKILL)
            self.until(lambda: self.children(up).get(command, before) != before
                       and self.text().count(says) == 2)
        children = self.children(up).values()
        up.send_signal(signal.SIGINT)
        self.assertEqual(up.wait(cli.DEADLINE_S), 0)
        self.assertFalse([pid for pid in children if os.path.exists(f"/proc/{pid}")])

    def test_children_die_with_it(self):
        up = self.start()
        children = self.children(up)
        self.assertEqual(sorted(children), ["serve", "work"])
        up.kill()
        up.wait()
        # whoever reaps orphans here may be slow: a zombie is dead too
        self.until(lambda: all(self.state(pid) in ("Z", None) for pid in children.values()))

    @staticmethod
    def state(pid):
        try:
            return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return None


if __name__ == "__main__":
    cli.main()
