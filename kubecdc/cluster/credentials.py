"""Where the cluster is and who we are, as kubectl finds it: flag, $KUBECONFIG, ~/.kube/config, in-cluster."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from kubecdc.cluster.errors import ApiError
from kubecdc.errors import UsageError

if TYPE_CHECKING:
    from kubernetes.client import Configuration


def load_configuration(kubeconfig: str | None, context: str | None) -> Configuration:
    """Find the cluster. Reads files and may run an exec plugin. Raises UsageError."""
    # Imported on first use, because `kubecdc --help` must not wait for it. The client loads its models lazily from
    # version 37 on: a watcher takes 59 MB (RSS) before this import and 68 MB after it; version 36 made that 98 MB.
    from kubernetes import config
    from kubernetes.client import Configuration

    found = Configuration(proxy="")  # that of the environment: kubecdc.cluster.proxy
    files = kubeconfig or os.environ.get("KUBECONFIG") or ""
    default = Path("~/.kube/config").expanduser()
    try:
        if files or default.exists():
            if kubeconfig and not Path(kubeconfig).is_file():
                raise UsageError(
                    f"kubeconfig {kubeconfig}: no such file", hint="name an existing file with --kubeconfig"
                )
            config.load_kube_config(
                files or str(default), context=context, client_configuration=found, persist_config=False
            )
        elif context:
            raise UsageError(f"context {context!r}: there is no kubeconfig to find it in", hint="give --kubeconfig")
        else:
            config.load_incluster_config(client_configuration=found)
    except config.ConfigException as e:
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
    from kubernetes.config import ConfigException

    try:
        settings: dict[str, Any] = configuration.auth_settings()
    except (ConfigException, OSError) as e:
        raise ApiError(f"the credentials cannot be read: {e}", status=401, hint="check the token file") from e
    token = settings.get("BearerToken", {}).get("value")
    return {"Authorization": token} if token else {}


def tls_context(configuration: Configuration) -> ssl.SSLContext:
    """What to connect with. Raises UsageError."""
    try:
        context = ssl.create_default_context(
            cafile=configuration.ssl_ca_cert or None, cadata=configuration.ca_cert_data or None
        )
        if not configuration.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file or None)
    except (OSError, ssl.SSLError) as e:
        raise UsageError(f"the kubeconfig's certificates cannot be used: {e}", hint="renew them") from e
    return context
