"""Where the cluster is, whom we trust and who we are, as kubectl finds it: flag, $KUBECONFIG, ~/.kube/config, a pod."""

from __future__ import annotations

import os
from base64 import b64encode
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from kubecdc.cluster import kubeconfig
from kubecdc.cluster.credentials import Credential, CredentialSource, Given, TokenFile, basic, bearer
from kubecdc.cluster.exec_plugin import MODES, VERSIONS, ExecPlugin
from kubecdc.cluster.impersonation import NOBODY, Impersonation
from kubecdc.cluster.kubeconfig import Kubeconfig, User, pem
from kubecdc.cluster.oidc import OidcTokens
from kubecdc.cluster.server import Server, parse
from kubecdc.cluster.tls import KeyPair, Trust
from kubecdc.errors import UsageError

ONE = "remove one; kubectl needs that too"
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
REMOVED_PROVIDERS = {"gcp": "gke-gcloud-auth-plugin", "azure": "kubelogin (github.com/Azure/kubelogin)"}


@dataclass(frozen=True, repr=False)  # it holds secrets
class Configuration:
    """How to reach the API server, and as whom. ``context`` and ``user`` are their names, "" in a pod.

    ``pair`` is the client certificate of the kubeconfig; a plugin's is part of its credential. ``origin`` is what the
    credentials were made from: while it is the same, the source need not be replaced.
    """

    server: Server
    trust: Trust
    source: CredentialSource
    origin: object
    pair: KeyPair | None = None
    context: str = ""
    user: str = ""
    impersonation: Impersonation = NOBODY
    tls_server_name: str = ""


def load_configuration(file: str | None, context: str | None, impersonation: Impersonation = NOBODY) -> Configuration:
    """Find the cluster and read its files. No plugin is run. Raises UsageError."""
    if file and not Path(file).is_file():
        raise UsageError(f"kubeconfig {file}: no such file", hint="name an existing file with --kubeconfig")
    listed = [file] if file else [f for f in os.environ.get("KUBECONFIG", "").split(os.pathsep) if f]
    files = [_expanded(f) for f in listed or ["~/.kube/config"]]
    found = kubeconfig.read(files, context)
    if found is not None:
        return _of_kubeconfig(found, impersonation)
    if context:
        raise UsageError(f"context {context!r}: there is no kubeconfig to find it in", hint="give --kubeconfig")
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    if not (host and port and (SERVICE_ACCOUNT / "token").is_file()):
        sought = f"{', '.join(listed)} has no content" if listed else "no --kubeconfig, $KUBECONFIG or ~/.kube/config"
        raise UsageError(
            f"no Kubernetes cluster is configured: {sought}, and not in a pod",
            hint="give --kubeconfig FILE",
        )
    return _of_pod(f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}", impersonation)


def _expanded(file: str) -> Path:
    try:
        return Path(file).expanduser()
    except RuntimeError:  # the user has no home: one of a container, who is in no /etc/passwd
        return Path(file)


def _of_pod(host: str, impersonation: Impersonation) -> Configuration:
    token = TokenFile(str(SERVICE_ACCOUNT / "token"))
    token.read()
    try:
        trust = Trust((SERVICE_ACCOUNT / "ca.crt").read_bytes())
    except OSError as e:
        raise UsageError(f"the certificate of the service account cannot be read: {e}", hint="check the pod") from e
    return Configuration(parse(host, ""), trust, token, "pod", impersonation=impersonation.over(User()))


def _of_kubeconfig(found: Kubeconfig, impersonation: Impersonation) -> Configuration:
    cluster, user = found.cluster, found.user
    try:
        _refuse_both(cluster, "certificate_authority")
        ca = pem(cluster.certificate_authority_data, cluster.certificate_authority, "certificate-authority")
        if ca and cluster.insecure_skip_tls_verify:
            raise UsageError(
                "certificate-authority and insecure-skip-tls-verify are both given",
                hint=ONE,
            )
        trust = Trust(ca, cluster.insecure_skip_tls_verify)
        pair = _pair(user)
        impersonated = impersonation.over(user)
        impersonated.headers()
        server = parse(cluster.server, cluster.proxy_url)
        source = _source(found, server, trust, pair)
    except UsageError as e:
        raise UsageError(f"kubeconfig {found.where}, context {found.context!r}: {e}", hint=e.hint) from e
    return Configuration(
        server,
        trust,
        source,
        (user, cluster),
        pair,
        found.context,
        found.user_name,
        impersonated,
        cluster.tls_server_name,
    )


def _pair(user: User) -> KeyPair | None:
    _refuse_both(user, "client_certificate")
    _refuse_both(user, "client_key")
    certificate = pem(user.client_certificate_data, user.client_certificate, "client-certificate")
    if not certificate:
        return None
    key = pem(user.client_key_data, user.client_key, "client-key")
    if not key:
        raise UsageError("client-certificate is given without client-key", hint="give client-key or client-key-data")
    return KeyPair(certificate, key)


def _refuse_both(part: Any, name: str) -> None:
    if getattr(part, name) and getattr(part, f"{name}_data"):
        field = name.replace("_", "-")
        raise UsageError(f"{field} and {field}-data are both given", hint=ONE)


def _source(found: Kubeconfig, server: Server, trust: Trust, pair: KeyPair | None) -> CredentialSource:
    """The user's credentials. If there are several, the first that client-go would use. Raises UsageError."""
    user = found.user
    if (user.token and user.password) or ((user.token or user.token_file) and user.username):
        raise UsageError("a token and a username are both given", hint=ONE)
    if user.exec and user.auth_provider:
        raise UsageError("exec and auth-provider are both given", hint=ONE)
    if user.exec:
        _check_exec(user.exec)
    if not _private(server):
        return Given(Credential())  # nobody's credentials are sent in the clear
    if user.token_file:
        source = TokenFile(user.token_file, user.token)
        if not user.token:
            source.read()
        return source
    if user.token:
        return Given(bearer(user.token))
    if user.username:
        return Given(basic(user.username, user.password))
    if user.auth_provider:
        return _provider(user.auth_provider)
    if user.exec and not pair:
        return ExecPlugin(user.exec, _told_to_plugins(found, trust))
    return Given(Credential())


def _private(server: Server) -> bool:
    """Whether nobody else can read what is sent: by TLS, or because it does not leave this machine."""
    host = server.url.host or ""
    try:
        return server.url.scheme == "https" or host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _check_exec(plugin: kubeconfig.Exec) -> None:
    if not plugin.command:
        raise UsageError("exec: command is missing", hint="name the program")
    if plugin.api_version not in VERSIONS:
        raise UsageError(
            f"exec: apiVersion {plugin.api_version!r} is not supported",
            hint=f"update the plugin: {' or '.join(VERSIONS)}",
        )
    optional = plugin.api_version != VERSIONS[0]
    if plugin.interactive_mode not in MODES and (plugin.interactive_mode or not optional):
        raise UsageError(
            f"exec: interactiveMode is {plugin.interactive_mode or 'missing'!r}",
            hint=f"it is one of {', '.join(MODES)}",
        )
    if not all(variable.name for variable in plugin.env):
        raise UsageError("exec: a variable in env has no name", hint="name it")


def _provider(provider: kubeconfig.AuthProvider) -> CredentialSource:
    if provider.name == "oidc":
        return OidcTokens(provider.config)
    instead = REMOVED_PROVIDERS.get(provider.name, "a plugin")
    raise UsageError(
        f"auth-provider {provider.name!r} is not supported, as in kubectl since 1.26",
        hint=f"use {instead} as an exec plugin, for example with the cloud's own command that writes the kubeconfig",
    )


def _told_to_plugins(found: Kubeconfig, trust: Trust) -> dict[str, Any]:
    """The `spec.cluster` of an ExecCredential."""
    told = {
        "server": found.cluster.server,
        "tls-server-name": found.cluster.tls_server_name,
        "insecure-skip-tls-verify": trust.insecure,
        "certificate-authority-data": b64encode(trust.ca).decode(),
        "proxy-url": found.cluster.proxy_url,
        "disable-compression": found.cluster.disable_compression,
    }
    config = found.cluster.plugin_config
    return {name: value for name, value in told.items() if value} | ({} if config is None else {"config": config})
