#!/usr/bin/python3
"""test_docs.py MSAAS ROOT: what the documents say is what the program and its sources say."""

import pathlib
import re
import subprocess
import sys
import unittest

MSAAS, ROOT = sys.argv[1], pathlib.Path(sys.argv[2])
PAGES = [
    ROOT / name
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "charts/msaas/README.md",
                 "test/golden/README.md")
] + sorted((ROOT / "docs").glob("*.md"))
MAX_COLUMNS = 100
README_LINES = 150
# "msaas COMMAND REST" in an example, but not "msaas charts/msaas"
EXAMPLE = r"(?:^ +|[ /;(])msaas ([a-z]+)(?![\w/:.-])([^\n#;&|]*)"


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def sources(folder):
    files = sorted((ROOT / folder).rglob("*.c"))
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def output(*command):
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise AssertionError(f"{command} failed: {run.stdout}{run.stderr}")
    return run.stdout


def between(page, mark):
    return re.search(f"<!-- {mark}:begin -->\n(.*?)<!-- {mark}:end -->", read(page), re.S)[1]


def rows(page, mark):
    """The cells of a table's rows, without its head."""
    return [[cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in between(page, mark).splitlines()[2:]]


def function(text, name):
    return re.search(rf"\b{name}\([^;]*?\) \{{\n(.*?)\n\}}", text, re.S)[1]


class Api(unittest.TestCase):
    def test_routes(self):
        table = re.findall(r'\{"([A-Z]+)", "(/[^"]*)"', read("src/api/api.c"))
        told = [(method, re.sub(r"\{\w+\}", "{}", path))
                for method, path, _ in rows("docs/api.md", "routes")]
        self.assertEqual(sorted(told), sorted(table))

    def test_codes(self):
        text = sources("src/api")
        told = {(status, code) for status, code, _ in rows("docs/api.md", "codes")}
        made = set(re.findall(r'problem_set\(\s*[^,;]+,\s*(\d+),\s*"(\w+)"', text))
        made |= {("503", code) for code in re.findall(r'problem_of\(problem, "\w+", "(\w+)"', text)}
        self.assertGreater(len(made), 30)
        server = set(re.findall(r'\{(\d+), "(\w+)"\}', text)) | {("400", "bad_request")}
        self.assertEqual(made - told, set(), "codes that the API makes and the page lacks")
        chosen = {("422", "invalid_callback")}  # its status is an argument
        self.assertEqual(told - made - server - chosen, set(), "codes that only the page has")

    def test_states(self):
        names = re.search(r"state_names\[[^=]*= \{(.*?)\};", read("src/job/job.c"), re.S)[1]
        told = [state for state, _ in rows("docs/api.md", "states")]
        self.assertEqual(told, re.findall(r'"(\w+)"', names))

    def test_codes_of_jobs(self):
        names = set(re.findall(r'case MS_E\w+: return "(\w+)"', read("src/base/err.c")))
        self.assertGreater(len(names), 10)
        told = {code for code, _ in rows("docs/api.md", "job-codes")}
        of_no_job = {"canceled", "quota"}  # a job at a quota is not taken
        self.assertEqual(told, names - of_no_job | {"poison"})

    def test_fields(self):
        text, page = read("src/job/job_json.c"), read("docs/api.md")
        for name in ("ms_job_to_public_json", "put_receipt", "put_error"):
            fields = re.findall(r'(?:put|begin)_\w+\(\s*w, "(\w+)"', function(text, name))
            self.assertTrue(fields, name)
            for field in fields:
                self.assertRegex(page, rf"`(\w+\.)?{field}`", f"{name}: {field}")

    def test_headers(self):
        page = read("docs/api.md")
        for header in set(re.findall(r'add_header\([^,;]+, "([A-Za-z-]+)"', sources("src/api"))):
            self.assertIn(f"`{header}", page)


class Operations(unittest.TestCase):
    def test_metrics(self):
        made = set(re.findall(r'"(msaas_[a-z_]+)"', sources("src"))) | {
            "msaas_build_info", "process_resident_memory_bytes", "process_start_time_seconds"}
        self.assertGreater(len(made), 15)
        told = {name.split("{")[0] for name, _, _ in rows("docs/operations.md", "metrics")}
        self.assertEqual(told, made)

    def test_alerts(self):
        made = re.findall(r"- alert: (\w+)", read("deploy/prometheus/rules.yaml"))
        self.assertEqual([name for name, _ in rows("docs/operations.md", "alerts")], made)

    def test_tables_of_options(self):
        self.assertEqual(output(ROOT / "scripts" / "docs", "--check", MSAAS), "")


class Design(unittest.TestCase):
    def test_rooms(self):
        names = re.search(r"^ROOMS = \[(.*?)\]", read("scripts/lint-layers"), re.S | re.M)[1]
        told = [room for room, *_ in rows("docs/design.md", "rooms")]
        self.assertEqual(told, re.findall(r'"(\w+)"', names))


class Pages(unittest.TestCase):
    def test_commands(self):
        """Commands and options in examples are ones that the program knows."""
        helps = {}
        for page in PAGES:
            examples = "\n".join(line for line in page.read_text(encoding="utf-8").splitlines()
                                 if line.startswith("    ")).replace("\\\n", " ")
            for command, rest in re.findall(EXAMPLE, examples, re.M):
                if command not in helps:
                    helps[command] = output(MSAAS, "help", command)
                for option in re.findall(r"(?<=\s)--[a-z0-9-]+", rest):
                    self.assertIn(option, helps[command], f"{page}: msaas {command}{rest}")
        self.assertGreater(len(helps), 7)

    def test_links(self):
        for page in PAGES:
            text = page.read_text(encoding="utf-8")
            for target in re.findall(r"\]\(([^)#][^)]*|#[^)]+)\)", text):
                if target.startswith("http"):
                    continue
                name, _, anchor = target.partition("#")
                file = (page.parent / name).resolve() if name else page
                self.assertTrue(file.exists(), f"{page}: {target}")
                if anchor:
                    heads = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.M)
                    words = [re.sub(r"[^\w -]", "", head.lower()) for head in heads]
                    anchors = [word.replace(" ", "-") for word in words]
                    self.assertIn(anchor, anchors, f"{page}: {target}")

    def test_scripts(self):
        for page in PAGES:
            for name in re.findall(r"\bscripts/[a-z][\w.-]*\w", page.read_text(encoding="utf-8")):
                self.assertTrue((ROOT / name).exists(), f"{page}: {name}")

    def test_columns(self):
        """Rows of tables cannot be broken."""
        for page in PAGES:
            for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
                short = len(line) <= MAX_COLUMNS or line.startswith("|")
                self.assertTrue(short, f"{page}:{number}")

    def test_readme_is_short(self):
        self.assertLessEqual(len(read("README.md").splitlines()), README_LINES)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
