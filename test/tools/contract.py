"""The contract, src/api/openapi.json, and whether an exchange keeps to it."""

import json
import pathlib
import re

import jsonschema

PATH = pathlib.Path(__file__).resolve().parents[2] / "src" / "api" / "openapi.json"
# Headers of requests that mean something to a route, not to the server or to those in between;
# Authorization stands under securitySchemes.
MEANINGFUL = {"idempotency-key", "prefer", "if-match", "if-none-match", "if-range", "range",
              "last-event-id"}
METHODS = ("get", "put", "post", "delete", "options", "head", "patch")


def is_meaningful(header):
    return header.lower() in MEANINGFUL or header.lower().startswith(("tus-", "upload-"))


class Contract:
    def __init__(self, path=PATH):
        self.document = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        self.resolver = jsonschema.RefResolver("", self.document)
        refusal = self.document["components"]["schemas"]["Refusal"]
        self.general = set(refusal["properties"]["status"]["enum"])
        self.templates = sorted(
            ((re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))), path)
             for path in self.document["paths"]),
            key=lambda pair: pair[1].count("{"))

    def resolve(self, node):
        while "$ref" in node:
            node = self.resolver.resolve(node["$ref"])[1]
        return node

    def operations(self):
        """{(METHOD, path): operation}"""
        return {(method.upper(), path): item[method]
                for path, item in self.document["paths"].items()
                for method in METHODS if method in item}

    def parameters(self, method, path):
        """{"query": names, "header": names, ...} of an operation."""
        item = self.document["paths"][path]
        names = {"query": set(), "header": set(), "path": set(), "cookie": set()}
        for parameter in item.get("parameters", []) + item[method.lower()].get("parameters", []):
            parameter = self.resolve(parameter)
            names[parameter["in"]].add(parameter["name"].lower())
        return names

    def validator_of(self, schema):
        return jsonschema.Draft202012Validator(schema, resolver=self.resolver)

    def template(self, path):
        return next((template for pattern, template in self.templates if pattern.fullmatch(path)),
                    None)

    # ---- an exchange ----

    def faults(self, exchange):
        """What is wrong with it, as texts. An exchange: {"method", "path", "query": names,
        "headers": names, "status", "type", "answer": headers, "body": text, or None where it was
        not recorded}."""
        method, status = exchange["method"], exchange["status"]
        template = self.template(exchange["path"])
        item = self.document["paths"].get(template, {})
        if method == "OPTIONS" and "access-control-request-method" in exchange["headers"]:
            return []  # a browser's question to the server, for any route
        if method == "HEAD" and "head" not in item:
            method = "GET"
        operation = item.get(method.lower())
        if operation is None:
            return self.faults_outside(exchange, template)
        if status == 404 and "nothing is served" in (exchange["body"] or ""):
            return self.faults_outside(exchange, None)  # another server: a worker's
        responses = operation["responses"]
        response = responses.get(str(status))
        if response is None and status in self.general:
            response = responses["default"]
        if response is None:
            return [f"{status} is not one of {', '.join(responses)}"]
        faults = self.faults_of_answer(self.resolve(response), exchange)
        if status < 400:
            known = self.parameters(method, template)
            faults += [f"the parameter {name} is not in it"
                       for name in set(exchange["query"]) - known["query"]]
            faults += [f"the header {name} is not in it"
                       for name in exchange["headers"]
                       if is_meaningful(name) and name.lower() not in known["header"]]
        return faults

    def faults_outside(self, exchange, template):
        """Of a request for which there is no operation."""
        allowed = self.general | {404} if template is None else self.general
        if exchange["status"] not in allowed:
            return [f"{exchange['status']}, but no path or method of it"]
        is_v2 = re.match(r"/apiv2(/|$)", exchange["path"])
        response = self.document["components"]["responses"]["Problem" if is_v2 else "Reason"]
        return self.faults_of_answer(response, exchange)

    def faults_of_answer(self, response, exchange):
        faults = []
        headers = {name.lower(): value for name, value in exchange["answer"].items()}
        for name, header in response.get("headers", {}).items():
            header = self.resolve(header)
            value = headers.get(name.lower())
            if value is None and header.get("required"):
                faults.append(f"no header {name}")
            elif value is not None:
                faults += [f"{name}: {error.message}"
                           for error in self.validator_of(header["schema"]).iter_errors(value)]
        if exchange["method"] == "HEAD" or exchange["body"] is None:
            return faults
        content = response.get("content")
        if content is None:
            return faults + (["a body, but none is in it"] if exchange["body"] else [])
        kind = exchange["type"].partition(";")[0].strip().lower()
        media = content.get(kind, content.get(kind.partition("/")[0] + "/*"))
        if media is None:
            return faults + [f"{kind or 'no type'} is not one of {', '.join(content)}"]
        if kind.endswith("json") and "schema" in media:
            faults += [f"{'/'.join(map(str, error.absolute_path)) or 'body'}: {error.message}"
                       for error in self.validator_of(media["schema"]).iter_errors(
                           json.loads(exchange["body"]))]
        if kind == "text/event-stream":
            faults += self.faults_of_events(media["x-itemSchema"], exchange["body"])
        return faults

    def faults_of_events(self, schema, text):
        faults = []
        content = self.resolve(schema)["properties"]["data"]["contentSchema"]
        for block in text.split("\n\n"):
            event = dict(re.findall(r"^(\w+): ?(.*)$", block, re.M))
            if event:
                errors = [*self.validator_of(schema).iter_errors(event),
                          *self.validator_of(content).iter_errors(json.loads(event["data"]))]
                faults += [f"event: {error.message}" for error in errors]
        return faults
