"""Where the cluster is and who we are, as kubectl finds it: flag, $KUBECONFIG, ~/.kube/config, in-cluster."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from kubecdc.errors import UsageError

if TYPE_CHECKING:
    from kubernetes.client import Configuration


def load_configuration(kubeconfig: str | None, context: str | None) -> Configuration:
    """Find the cluster as kubectl does: flag, $KUBECONFIG, ~/.kube/config, in-cluster. Raises UsageError."""
    # Imported here: it takes a fifth of a second, which `kubecdc --help` must not.
    from kubernetes import config
    from kubernetes.client import Configuration

    found = Configuration()
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
