"""Workers that are sick, have other models, or are killed harm only themselves; a job's cost has a
limit.

With ATTACK_FULL=1 in full numbers, else in small ones.
"""

import os
import re
import shutil
import signal
import subprocess

from harness import DEADLINE_S, HTTP, MAKE_MODEL, free_port, wait_for, wav

FULL = os.environ.get("ATTACK_FULL") == "1"
UNFIT = 69


def say(text):
    print(f"\n    {text}", flush=True)


def worker_at(site, *options):
    port = free_port()
    process = site.start("work", "--host", "127.0.0.1", "--port", port, *options)
    process.url = f"http://127.0.0.1:{port}"
    site.wait_ready(process)
    return process


def mp3_without_length(seconds):
    return subprocess.run(
        ["lame", "--quiet", "-t", "-b", "64", "-", "-"], input=wav(seconds, rate_hz=44100),
        capture_output=True, check=True, timeout=DEADLINE_S).stdout


def test_a_sick_worker_harms_only_itself(site, tmp_path):
    """Its scratch folder is lost. It gives back what it takes, says so and ends."""
    count = 120 if FULL else 24
    site.serve()
    scratch = tmp_path / "lost"
    sick = worker_at(site, "--scratch", scratch, "--give-up", 3 / 60)
    shutil.rmtree(scratch)
    idents = [site.separate(wav(0.5))]

    def reason():
        if not sick.running():  # it has given up before anybody looked
            return sick.text()
        answer = HTTP.get(sick.url + "/readyz", timeout=DEADLINE_S)
        return answer.status_code == 503 and answer.text

    assert str(scratch) in wait_for("the sick worker to be unready", reason)
    idents += [site.separate(wav(0.5, tag=number)) for number in range(1, count)]
    for _ in range(2):
        site.work()
    assert sick.wait() == UNFIT
    jobs = [site.finished(ident) for ident in idents]
    assert {job["attempts"] for job in jobs} == {1}
    back = len(re.findall("job put back: this worker is unwell", sick.text()))
    assert back > 0
    say(f"a worker without scratch: {count} jobs, {back} given back, 0 failed; exit code {UNFIT}")


def test_two_models_share_a_queue(site):
    count = 20 if FULL else 8
    subprocess.run([MAKE_MODEL, "--tiny", "--name", "other", site.models], check=True,
                   timeout=DEADLINE_S)
    serve = site.serve("--models", "tiny,other")
    models = ["tiny", "other"]
    idents = [site.submit(wav(0.5, tag=number), model=models[number % 2])["id"]
              for number in range(count)]

    def waiting(model):
        page = HTTP.get(serve.url + "/metrics", timeout=DEADLINE_S).text
        found = re.search(rf'^msaas_jobs_waiting{{model="{model}"}} (\d+)$', page, re.MULTILINE)
        return int(found[1])

    assert [waiting(model) for model in models] == [count // 2, count // 2]
    tiny = site.work("--model", "tiny", "--model-wait", 0.02)
    for ident in idents[::2]:
        site.finished(ident)
    for ident in idents[1::2]:  # the other worker's reaper says so
        job = site.wait_state(ident, "failed", "succeeded")
        assert job["error"]["code"] == "model" and "no worker" in job["error"]["message"], job
    assert tiny.terminate() == 0
    for model in models:
        site.work("--model", model)
    idents = [site.submit(wav(0.5, tag=number), model=models[number % 2])["id"]
              for number in range(count, 2 * count)]
    assert {site.finished(ident)["attempts"] for ident in idents} == {1}
    assert [waiting(model) for model in models] == [0, 0]
    say(f"two models on one queue: {count} jobs, 0 failed")


def test_a_job_that_comes_farther_each_time_is_no_poison(site):
    """Each gives back at its start what the dead one before it held: no lease lapses."""
    site.serve()
    ident = site.separate(wav(2.0))
    points = ["after-claim", "mid-decode", "mid-inference", "between-uploads"]
    for point in points:
        worker = site.work(env={"MSAAS_FAULT": point})
        assert worker.wait() == -signal.SIGKILL
    site.work()
    job = site.finished(ident)
    assert job["attempts"] == len(points) + 1
    say(f"{len(points)} workers killed, each farther into a song than the one before: it succeeds")


def test_a_jobs_cost_has_a_limit(make_embedded):
    site = make_embedded()
    site.env["MSAAS_MAX_COST"] = "1"
    site.serve()
    site.work()
    answer = site.post("/apiv2/jobs", data=wav(60), headers={"Content-Type": "audio/wav"})
    assert answer.status_code == 422 and answer.json()["code"] == "too_costly", answer.text
    assert "--max-cost" in answer.json()["detail"]
    job = site.submit(wav(30))
    assert abs(job["cost"] - 0.5 / 0.75) < 1e-5
    assert site.submit(wav(30), overlap=0, shifts=2)["cost"] == 1
    site.finished(job["id"])
    job = site.submit(mp3_without_length(60))
    assert job["cost"] is None
    job = site.wait_state(job["id"], "failed", "succeeded")
    assert job["error"]["code"] == "too_large", job
    assert "cost 1.3 minutes" in job["error"]["message"]
    assert "--max-cost" in job["error"]["message"]
    assert 1.3 < job["cost"] < 1.4
    site.stop()
    say("a song of a minute with --max-cost 1: refused where its head tells, else it fails")
