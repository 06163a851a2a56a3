"""The kinds of faults, and which of them strike where."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What can go wrong."""

    KILL_WATCHER = "watcher killed"
    KILL_WORKER = "worker killed"
    PAUSE_WATCHER = "watcher stopped for a while"
    PAUSE_WORKER = "worker stopped for a while"
    KILL_SERVER = "API server killed"
    RESTART_SERVER = "API server restarted"
    EXPIRE_HISTORY = "history expired"
    BLACKOUT = "history expired while no watcher ran"
    RESTORE = "etcd restored"
    RESTORE_UNSEEN = "etcd restored while no watcher ran"
    PAUSE_SERVER = "API server stopped for a while"
    PAUSE_ETCD = "etcd stopped for a while"
    CUT_STREAMS = "watch cut in the middle of a line"
    REFUSE_WATCHES = "API server answered 503 to watches"
    PAUSE_LEADER = "leader stopped for longer than its lease"
    KILL_REDIS = "Redis killed"
    LOSE_TAIL = "Redis lost its last second"
    FLUSH_SCRIPTS = "Redis forgot its scripts"
    CUT_BUS = "connections to the bus cut"
    DROP_REPLIES = "replies of the bus cut off"
    DELAY_REPLIES = "replies of the bus late"
    HANG_BUS = "nothing passed to or from the bus"
    REFUSE = "receiver answered 503"
    HANG_UP = "receiver hung up"
    SLOW = "receiver was slow"


SIMULATED = {Kind.CUT_STREAMS, Kind.REFUSE_WATCHES}  # only the simulator does these on command
REAL = {Kind.PAUSE_ETCD}  # only the real server has one
KILLS = {Kind.KILL_WATCHER, Kind.KILL_WORKER}
RESTORES = {Kind.RESTORE, Kind.RESTORE_UNSEEN}
LEASED = {Kind.PAUSE_LEADER}  # only where a Lease elects
PROXIED = {Kind.CUT_BUS, Kind.DROP_REPLIES, Kind.DELAY_REPLIES, Kind.HANG_BUS}  # only where a proxy is in between
REDIS = {Kind.KILL_REDIS, Kind.LOSE_TAIL, Kind.FLUSH_SCRIPTS}  # only of a Redis of its own
OF_A_BUS = LEASED | PROXIED | REDIS
