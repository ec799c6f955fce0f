"""Fixtures: a tiny model, a Redis, the S3 server (once a session), and sites on either pair of
backends."""

import shutil

import harness
import pytest
import radosgw  # of test/tools, where harness looks
import skip

SITES = []


@pytest.fixture(scope="session", autouse=True)
def tidy(request, tmp_path_factory):
    """Leaves nothing behind where all went well: pytest would keep the last three runs' folders."""
    yield
    if not request.session.testsfailed:
        shutil.rmtree(tmp_path_factory.getbasetemp(), ignore_errors=True)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    return harness.make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def s3():
    if missing := radosgw.Radosgw.missing():
        pytest.skip(missing)
    with radosgw.Radosgw() as server:
        yield server


@pytest.fixture(scope="session")
def make_site(models, tmp_path_factory):
    """make_site(env) -> a Site; all its processes end with the session, or by site.stop()."""

    def make(env):
        site = harness.Site(tmp_path_factory.mktemp("site"), models, env)
        SITES.append(site)
        return site

    yield make
    for site in SITES:
        site.stop()


@pytest.fixture(scope="session")
def make_redis(tmp_path_factory):
    servers = []

    def make():
        servers.append(harness.Redis(tmp_path_factory.mktemp("redis")).start())
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


@pytest.fixture(scope="session")
def make_embedded(make_site, tmp_path_factory):
    def make():
        data = tmp_path_factory.mktemp("data")
        site = make_site({"MSAAS_QUEUE": f"sqlite:{data}/queue.db",
                          "MSAAS_STORE": f"file:{data}/objects"})
        site.data = data
        return site

    return make


@pytest.fixture(scope="session")
def make_scaled(make_site, make_redis, s3):
    """Redis and S3, each site with buckets of its own. site.redis, site.s3, site.prefix."""
    count = 0

    def make():
        nonlocal count
        count += 1
        redis = make_redis()
        prefix = f"site{count}-"
        site = make_site({
            "MSAAS_QUEUE": redis.url,
            "MSAAS_STORE": f"s3://{prefix}",
            "AWS_ENDPOINT_URL_S3": s3.endpoint,
            "AWS_ACCESS_KEY_ID": s3.access_key,
            "AWS_SECRET_ACCESS_KEY": s3.secret_key,
            "AWS_REGION": s3.region,
        })
        site.redis, site.s3, site.prefix = redis, s3, prefix
        return site

    return make


@pytest.fixture(params=["embedded", "scaled"])
def site(request):
    """A fresh site, on each pair of backends in turn."""
    made = request.getfixturevalue(f"make_{request.param}")()
    yield made
    made.stop()


@pytest.fixture
def hook():
    made = harness.Hook()
    yield made
    made.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for site in SITES:
            if any(process.running() for process in site.processes) or "site" in item.fixturenames:
                report.sections.append((f"processes of {site.folder.name}", site.logs()))


def pytest_sessionfinish(session, exitstatus):
    """A skipped test is no passed one: CTest is to know."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", [])
    if skipped:
        print()  # ends the line of dots
    for report in skipped:
        reason = report.longrepr[2].removeprefix("Skipped: ")
        skip.tell(f"{report.nodeid.rpartition('::')[2]}: {reason}")
    if skipped and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = skip.STATUS
