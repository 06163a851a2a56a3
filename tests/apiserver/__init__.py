"""API servers to test on: a simulator (in this process or its own) and a real one. See README.md."""

from tests.apiserver.client import (
    CONFIGMAPS,
    CRDS,
    LEASES,
    NAMESPACES,
    WORKFLOWS,
    ApiServer,
    Client,
    RequestFailed,
    client_of,
    path_of,
    workflow,
    write_kubeconfig,
)
from tests.apiserver.ledger import Entry
from tests.apiserver.local import LocalSimulator, simulator
from tests.apiserver.process import SimulatorProcess
from tests.apiserver.real import RealApiServer, assets, require_assets
from tests.apiserver.resources import WORKFLOW_DEFINITION, definition, parse_definition
from tests.apiserver.snapshot import Snapshot
from tests.apiserver.users import User
from tests.apiserver.watch import WatchRules

__all__ = [
    "CONFIGMAPS",
    "CRDS",
    "LEASES",
    "NAMESPACES",
    "WORKFLOWS",
    "WORKFLOW_DEFINITION",
    "ApiServer",
    "Client",
    "Entry",
    "LocalSimulator",
    "RealApiServer",
    "RequestFailed",
    "SimulatorProcess",
    "Snapshot",
    "User",
    "WatchRules",
    "assets",
    "client_of",
    "definition",
    "parse_definition",
    "path_of",
    "require_assets",
    "simulator",
    "workflow",
    "write_kubeconfig",
]
