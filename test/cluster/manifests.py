"""Without Helm: the plain manifests, and development against a cluster."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile

import cluster
from cluster import apply, clip, get, kubectl, make_mirror, need, wait_for

# On a port that the policies of the manifests let workers ask.
MIRROR = f"http://mirror.{cluster.NAMESPACE}:9000/htdemucs.onnx"
BACKEND_CONFIG = "backendconfigs.cloud.google.com"


def overlays():
    """kubectl apply -k of each overlay: a song, separated by the real model"""
    there = {item["metadata"]["name"] for item in get("namespaces")["items"]}
    need(not there & {"msaas", "minio-ns"}, "the namespaces msaas and minio-ns are in use here")
    is_gke = cluster.has_kind(BACKEND_CONFIG)
    try:
        make_mirror(9000)
        make_store()
        if not is_gke:
            make_backend_config()
        for overlay in ("local", "gke"):
            apply_overlay(overlay)
    finally:
        kubectl("delete", "namespace", "msaas", "minio-ns", "--ignore-not-found",
                "--timeout=120s")
        if not is_gke:
            kubectl("delete", "crd", BACKEND_CONFIG, "--ignore-not-found")


def make_store():
    """Where the overlays expect it."""
    kubectl("create", "namespace", "minio-ns")
    kubectl("apply", "-f", "deploy/local-dev.yaml", namespace="minio-ns")
    apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "myminio-proj"},
           "spec": {"selector": {"app": "s3"}, "ports": [{"port": 9000}]}},
          namespace="minio-ns")
    kubectl("rollout", "status", "statefulset/s3", "--timeout=120s", namespace="minio-ns")


def make_backend_config():
    """A kind of Google's."""
    open_schema = {"openAPIV3Schema": {"type": "object",
                                       "x-kubernetes-preserve-unknown-fields": True}}
    apply({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
           "metadata": {"name": BACKEND_CONFIG},
           "spec": {"group": "cloud.google.com", "scope": "Namespaced",
                    "names": {"kind": "BackendConfig", "plural": "backendconfigs"},
                    "versions": [{"name": "v1", "served": True, "storage": True,
                                  "schema": open_schema}]}})
    kubectl("wait", "--for=condition=Established", f"crd/{BACKEND_CONFIG}", "--timeout=60s")


def apply_overlay(overlay):
    if overlay == "gke":  # its Secret is made by hand
        kubectl("create", "namespace", "msaas")
        kubectl("create", "secret", "generic", "msaas-secret",
                "--from-literal=AWS_ACCESS_KEY_ID=rootuser",
                "--from-literal=AWS_SECRET_ACCESS_KEY=rootpass123", namespace="msaas")
    cluster.run(cluster.KUBECTL, "apply", "-k", f"deploy/overlays/{overlay}")
    if overlay == "local":  # puts the model into the store, where the other one finds it
        kubectl("patch", "deploy", "msaas-work", "--type=json", "-p", json.dumps(
            [{"op": "add", "path": f"/spec/template/spec/initContainers/0/args/{n}", "value": word}
             for n, word in ((3, "--url"), (4, MIRROR))]), namespace="msaas")
    api = cluster.Api(cluster.node_url(get("service", "msaas-serve", namespace="msaas")))
    api.done(api.submit(clip()), seconds=180)
    # A namespace that is empty goes at once.
    kubectl("delete", "deploy,statefulset,pvc", "--all", "--timeout=120s", namespace="msaas")
    kubectl("delete", "namespace", "msaas", "--timeout=120s")


def local_dev():
    """scripts/deploy-local-dev, its ports and --stop"""
    env = {**os.environ, "PATH": f"{pathlib.Path(cluster.KUBECTL).parent}:{os.environ['PATH']}"}
    script = cluster.ROOT / "scripts" / "deploy-local-dev"
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([script, "--namespace", "msaas-dev-trial"], env=env,
                                   stdout=output, stderr=subprocess.STDOUT,
                                   start_new_session=True)

        def answers(port):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2):
                return True
            need(process.poll() is None, "it ended: " + said())
            return False

        def said():
            output.seek(0)
            return output.read().decode()
        try:
            for port in (6379, 9000):
                wait_for(f"port {port}", lambda: answers(port))
            need(b"PONG" in ping(), "Redis does not answer")
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(30)
    subprocess.run([script, "--stop", "--namespace", "msaas-dev-trial"], env=env, check=True,
                   stdout=subprocess.DEVNULL, timeout=120)
    need("msaas-dev-trial" not in [n["metadata"]["name"] for n in get("namespaces")["items"]
                                   if n["status"]["phase"] == "Active"], "the namespace is left")


def ping():
    with socket.create_connection(("127.0.0.1", 6379), 10) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(100)
