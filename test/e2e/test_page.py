"""The page as it is in the binary: what it links to is there, packed and plain, for everybody; and
it is small. How it works: test/web. Its headers: test/unit/test_api_page.c."""

import gzip
import re

import pytest
from harness import DEADLINE_S, HTTP

FIRST_VIEW_BYTES = 150_000


@pytest.fixture(name="page")
def fixture_page(site, tmp_path):
    """The page of a service that lets nobody do anything without a token."""
    tokens = tmp_path / "tokens.json"
    site.run("token", "add", "somebody", "--tokens", tokens)
    site.serve("--tokens", tokens)
    answer = site.get("/")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    if "/assets/" not in answer.text:
        pytest.skip("msaas was built without the page")
    return answer


def links(text):
    return re.findall(r'(?:href|src)="(/[^"]*)"', text)


def fetch(site, path, coding):
    """(what came over the wire, the answer)"""
    answer = HTTP.get(site.url + path, headers={"Accept-Encoding": coding}, stream=True,
                      timeout=DEADLINE_S)
    assert answer.status_code == 200, path
    return answer.raw.read(decode_content=False), answer


def test_what_the_page_links_to_is_there(site, page):
    found = links(page.text)
    for ending in (".js", ".css", ".svg", ".txt"):
        assert any(path.endswith(ending) for path in found), found
    for path in found:
        assert re.fullmatch(r"/assets/\w+-\w{8}\.\w+", path), path
        plain, answer = fetch(site, path, "identity")
        assert "Content-Encoding" not in answer.headers
        assert "immutable" in answer.headers["Cache-Control"]
        packed, answer = fetch(site, path, "gzip")
        assert answer.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed) == plain, path
        known = site.get(path, headers={"If-None-Match": answer.headers["ETag"],
                                        "Accept-Encoding": "gzip"})
        assert known.status_code == 304


def test_parts_that_come_later_are_there(site, page):
    """Chunks that a script imports, by their names beside it."""
    scripts = [path for path in links(page.text) if path.endswith(".js")]
    later = set()
    for path in scripts:
        text = fetch(site, path, "identity")[0].decode()
        later |= set(re.findall(r'"\./([\w-]+\.js)"', text))
    assert later, "the mixer is loaded when it is needed"
    for name in later:
        fetch(site, "/assets/" + name, "gzip")


def test_the_first_view_is_small(site, page):
    paths = ["/"] + [path for path in links(page.text) if not path.endswith(".txt")]
    assert sum(len(fetch(site, path, "gzip")[0]) for path in paths) <= FIRST_VIEW_BYTES


def test_there_is_no_script_or_style_in_the_page(page):
    """The policy would not let it run."""
    assert re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", page.text) == []
    assert "'unsafe" not in page.headers["Content-Security-Policy"]
