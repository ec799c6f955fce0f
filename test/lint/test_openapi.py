#!/usr/bin/python3
"""test_openapi.py MSAAS ROOT: src/api/openapi.json says what the program, its tables and
docs/api.md say. Those tables are compared with the sources by test_docs.py."""

import json
import pathlib
import re
import subprocess
import sys
import unittest

MSAAS, ROOT = sys.argv[1], pathlib.Path(sys.argv[2])
sys.path.insert(0, str(ROOT / "test" / "tools"))
from contract import Contract  # noqa: E402  (its folder was just added)

CONTRACT = Contract(ROOT / "src" / "api" / "openapi.json")
SCHEMAS = CONTRACT.document["components"]["schemas"]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def rows(mark):
    """The cells of a table of docs/api.md, without its head."""
    text = re.search(f"<!-- {mark}:begin -->\n(.*?)<!-- {mark}:end -->", read("docs/api.md"),
                     re.S)[1]
    return [[cell.strip().strip("`").replace("\\|", "|")
             for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in text.splitlines()[2:]]


def references(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for member in node.values():
            yield from references(member)
    elif isinstance(node, list):
        for member in node:
            yield from references(member)


def values(schema):
    return schema["enum"] if "enum" in schema else [schema["const"]]


class OpenApi(unittest.TestCase):
    def test_version(self):
        run = subprocess.run([MSAAS, "--version"], capture_output=True, text=True, check=True)
        self.assertIn(CONTRACT.document["info"]["version"], run.stdout.split())

    def test_routes(self):
        table = re.findall(r'\{"([A-Z]+)", "(/[^"]*)"', read("src/api/api.c"))
        told = [(method, re.sub(r"\{\w+\}", "{}", path)) for method, path in CONTRACT.operations()]
        self.assertEqual(sorted(told), sorted(table))

    def test_references(self):
        used = set(references(CONTRACT.document))
        for reference in used:
            CONTRACT.resolve({"$ref": reference})
        for kind, components in CONTRACT.document["components"].items():
            for name in components:
                self.assertTrue(kind == "securitySchemes"
                                or any(reference.startswith(f"#/components/{kind}/{name}")
                                       for reference in used), f"nobody uses {kind}/{name}")

    def test_operations(self):
        names = [operation["operationId"] for operation in CONTRACT.operations().values()]
        self.assertEqual(len(set(names)), len(names))
        for (method, path), operation in CONTRACT.operations().items():
            self.assertIn("default", operation["responses"], (method, path))
            self.assertEqual(CONTRACT.parameters(method, path)["path"],
                             set(re.findall(r"\{(\w+)\}", path)))

    def test_codes(self):
        told = {(str(case["properties"]["status"]["const"]), code)
                for case in SCHEMAS["Problem"]["oneOf"]
                for code in values(case["properties"]["code"])}
        self.assertEqual(told, {(status, code) for status, code, _ in rows("codes")})

    def test_codes_of_jobs(self):
        self.assertEqual(SCHEMAS["JobErrorCode"]["enum"], [code for code, _ in rows("job-codes")])

    def test_states(self):
        self.assertEqual([state["const"] for state in SCHEMAS["JobState"]["oneOf"]],
                         [state for state, _ in rows("states")])

    def test_fields_of_jobs(self):
        text = read("src/job/job_json.c")
        text = re.search(r"\bms_job_to_public_json\([^;]*?\) \{\n(.*?)\n\}", text, re.S)[1]
        made = set(re.findall(r'(?:put|begin)_\w+\(\s*w, "(\w+)"', text)) | {"options", "error",
                                                                             "receipt"}
        told = set(SCHEMAS["Job"]["properties"])
        told |= set(SCHEMAS["Job"]["properties"]["input"]["properties"])
        told |= set(SCHEMAS["Stem"]["properties"])
        self.assertEqual(told, made)

    def test_options(self):
        options = SCHEMAS["JobOptions"]["properties"]
        self.assertEqual(list(options), [name for name, *_ in rows("jobs")])
        self.assertEqual(list(SCHEMAS["GivenOptions"]["properties"]), list(options))
        self.assertEqual(SCHEMAS["GivenOptions"]["required"], list(options))
        known = CONTRACT.parameters("POST", "/apiv2/jobs")["query"]
        self.assertEqual(known - set(options), {"name", "callback_url", "callback"})
        for name, value, default, _ in rows("jobs"):
            with self.subTest(name=name):
                option = options[name]
                given = str(option["default"]) if "default" in option else ""
                self.assertEqual(given, default)
                if "|" in value:
                    self.assertEqual(option["enum"], value.split("|"))
                elif match := re.fullmatch(r"(\S+) to (\S+)", value):
                    self.assertEqual((option["minimum"], option["maximum"]),
                                     tuple(json.loads(number) for number in match.groups()))
                elif value == "A,B,...":
                    self.assertEqual(option["type"], "array")
                else:
                    self.assertEqual(CONTRACT.resolve(option)["type"], "string")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
