"""The official client reads a watch, and does nothing with it."""

from __future__ import annotations

import sys
import time

import msgspec
from kubernetes import client, watch

from benchmarks.objects import BASE, KINDS


def main(url: str, kind_name: str, changes: int) -> None:
    configuration = client.Configuration()
    configuration.host = url
    api, kind = client.ApiClient(configuration), KINDS[kind_name]
    stream = watch.Watch().stream
    if kind.group:
        objects = client.CustomObjectsApi(api).list_cluster_custom_object
        lines = stream(objects, kind.group, kind.version, kind.plural, resource_version=str(BASE))
    else:
        lines = stream(client.CoreV1Api(api).list_service_for_all_namespaces, resource_version=str(BASE))
    next(lines)
    begun = time.perf_counter()
    for _ in range(changes - 1):
        next(lines)
    print(msgspec.json.encode({"rate": (changes - 1) / (time.perf_counter() - begun)}).decode())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
