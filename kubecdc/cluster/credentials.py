"""Where the cluster is and who we are, as kubectl finds it: flag, $KUBECONFIG, ~/.kube/config, in-cluster."""

from __future__ import annotations

import importlib
import os
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import yaml

from kubecdc.cluster.errors import ApiError
from kubecdc.errors import UsageError

if TYPE_CHECKING:
    from kubernetes.client import Configuration


def load_configuration(kubeconfig: str | None, context: str | None) -> Configuration:
    """Find the cluster. Reads files and may run an exec plugin. Raises UsageError."""
    client = _official_client()
    found = client.configuration()
    files = kubeconfig or os.environ.get("KUBECONFIG") or ""
    default = Path("~/.kube/config").expanduser()
    try:
        if files or default.exists():
            if kubeconfig and not Path(kubeconfig).is_file():
                raise UsageError(
                    f"kubeconfig {kubeconfig}: no such file", hint="name an existing file with --kubeconfig"
                )
            client.load_kube_config(
                files or str(default), context=context, client_configuration=found, persist_config=False
            )
        elif context:
            raise UsageError(f"context {context!r}: there is no kubeconfig to find it in", hint="give --kubeconfig")
        else:
            client.load_incluster_config(client_configuration=found)
    except client.error as e:
        if not files and not default.exists():
            raise UsageError(
                "no Kubernetes cluster is configured: no --kubeconfig, $KUBECONFIG or ~/.kube/config, and not in a pod",
                hint="give --kubeconfig FILE",
            ) from e
        where = files or str(default)
        raise UsageError(f"kubeconfig {where}: {e}", hint="see `kubectl config get-contexts`") from e
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, AttributeError, KeyError, ValueError) as e:
        # The official client does not check the shape of the file.
        where = files or str(default)
        raise UsageError(f"kubeconfig {where} cannot be read: {e}", hint="check it with `kubectl config view`") from e
    return found


def authorization(configuration: Configuration) -> dict[str, str]:
    """The request headers that authenticate us, {} with a client certificate. Raises ApiError (401).

    Credentials that have expired are renewed. That may run an exec plugin or read a token file, so call this in a
    thread.
    """
    try:
        settings: dict[str, Any] = configuration.auth_settings()
    except (_official_client().error, OSError) as e:
        raise ApiError(f"the credentials cannot be read: {e}", status=401, hint="check the token file") from e
    token = settings.get("BearerToken", {}).get("value")
    return {"Authorization": token} if token else {}


def tls_context(configuration: Configuration) -> ssl.SSLContext:
    """What to connect with. Raises UsageError."""
    ca_data = getattr(configuration, "ca_cert_data", None)  # client 36 does not have it
    try:
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None, cadata=ca_data or None)
        if not configuration.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file or None)
    except (OSError, ssl.SSLError) as e:
        raise UsageError(f"the kubeconfig's certificates cannot be used: {e}", hint="renew them") from e
    return context


# -- Loading the official client
#
# kubecdc uses the official client to read credentials, and for nothing else. `from kubernetes import config` runs all
# `__init__` modules of the client, so only the modules needed are imported. A watcher has 59 MB (RSS) before it reads
# its kubeconfig, and afterwards, with the CPU time that took:
#
#   client 36.0: 98 MB, 0.40 s (127 MB, 2.5 s without compiled bytecode); here 66 MB, 0.14 s
#   client 37.0: 68 MB, 0.13 s (73 MB, 0.8 s without compiled bytecode), as it loads models lazily; here 65 MB, 0.10 s


@dataclass(frozen=True)
class _Client:
    """The parts of the official client in use."""

    configuration: Callable[[], Configuration]
    load_kube_config: Callable[..., None]
    load_incluster_config: Callable[..., None]
    error: type[Exception]


@cache
def _official_client() -> _Client:
    """Load the client on first use, because `kubecdc --help` must not wait for it."""
    if "kubernetes" in sys.modules:  # loaded by somebody else, whole
        return _whole_client()
    try:
        return _partial_client()
    except (ImportError, AttributeError):
        return _whole_client()  # a version with another layout


def _whole_client() -> _Client:
    from kubernetes import config
    from kubernetes.client import Configuration

    return _Client(Configuration, config.load_kube_config, config.load_incluster_config, config.ConfigException)


def _partial_client() -> _Client:
    """Import the modules that read credentials, without the `__init__` modules of their packages.

    Empty packages take the place of the real ones in `sys.modules` during the import. Afterwards, all are removed from
    there, so that a later `import kubernetes` by anybody gets the real, whole package. Raises ImportError,
    AttributeError if the layout is not as expected.
    """
    try:
        root = _empty_package("kubernetes")
        client = _empty_package("kubernetes.client", root)
        _empty_package("kubernetes.config", root)
        configuration = importlib.import_module("kubernetes.client.configuration").Configuration
        vars(client).update(Configuration=configuration, ApiClient=_api_client)
        kubeconfig = importlib.import_module("kubernetes.config.kube_config")
        incluster = importlib.import_module("kubernetes.config.incluster_config")
        return _Client(
            configuration,
            kubeconfig.load_kube_config,
            incluster.load_incluster_config,
            kubeconfig.ConfigException,
        )
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "kubernetes"]:
            del sys.modules[name]


def _empty_package(name: str, parent: ModuleType | None = None) -> ModuleType:
    spec = PathFinder.find_spec(name, parent.__path__ if parent else None)
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError(f"{name} is not a package")
    package = ModuleType(name)
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules[name] = package
    return package


def _api_client(*args: Any, **kwargs: Any) -> Any:
    """`kubernetes.client.ApiClient`, which only a refresh of OpenID Connect tokens uses: loads the whole client."""
    from kubernetes.client import ApiClient

    return ApiClient(*args, **kwargs)
