"""The server: requests to answers, and its life."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.apiserver import errors, lists
from tests.apiserver.admin import Admin
from tests.apiserver.bodies import Body
from tests.apiserver.changes import Change
from tests.apiserver.connection import Connection, Request, Response
from tests.apiserver.errors import ApiError
from tests.apiserver.faults import Faults
from tests.apiserver.rbac import Attributes, Authorizer, forbidden
from tests.apiserver.resources import WORKFLOW_DEFINITION, Target
from tests.apiserver.reviews import REVIEWS, review
from tests.apiserver.routes import Routes, acceptable, failure, manager_of
from tests.apiserver.snapshot import Snapshot
from tests.apiserver.state import State
from tests.apiserver.store import Store
from tests.apiserver.users import ADMINISTRATOR, ANONYMOUS, User
from tests.apiserver.watch import Watch, WatchRules

GZIP_FROM = 128 * 1024


class Simulator:
    """A Kubernetes API server in this process.

    ``definitions`` are CustomResourceDefinitions that exist at the start, ``namespaces`` are there beside those
    that every cluster has; ``tokens`` the bearer tokens that are let in (None: everybody is); ``users`` says who stands
    behind a token, and behind all others is an administrator; ``rbac`` lets the Roles and bindings that are stored
    decide who may do what; ``cluster`` the uid of kube-system; ``data`` a file that keeps objects and counter;
    ``window`` the least and most changes a watch can go back.
    """

    def __init__(
        self,
        *,
        definitions: Iterable[Body] = (WORKFLOW_DEFINITION,),
        namespaces: Iterable[str] = (),
        tokens: Iterable[str] | None = None,
        users: Mapping[str, User] | None = None,
        rbac: bool = False,
        cluster: str | None = None,
        data: Path | None = None,
        rules: WatchRules | None = None,
        window: tuple[int, int] = (100, 102_400),
        managed_fields: bool = True,
        initializing: float = 1.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.rules = rules or WatchRules()
        self.asked = 0  # requests, without those of `/_sim/`
        self.tokens = set(tokens) if tokens is not None else None
        self.faults = Faults()
        self.store = Store(fresh=75 * self.rules.scale, window=window, keep=300 * self.rules.scale)
        self._state = State(
            self.store,
            definitions=definitions,
            namespaces=namespaces,
            uid=cluster,
            data=data,
            managed_fields=managed_fields,
        )
        self.kinds, self.ledger = self._state.kinds, self._state.ledger
        self.routes = Routes(self._state.registry, self.kinds)
        self.users = dict(users or {})
        self.rbac = rbac
        self._authorizer = Authorizer(self.store)
        self.port = 0
        self.starts = 0
        self._initializing = initializing
        self._tls = tls
        self._admin = Admin(self)
        self._live: set[Connection] = set()
        self._watches: set[Watch] = set()
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: list[Callable[[], None]] = []
        self._awaited: list[tuple[int, asyncio.Event]] = []
        self.store.applied.append(self._version_reached)

    @property
    def cluster(self) -> str:
        """The uid of kube-system: the identity of the cluster."""
        return self._state.uid

    # -- life

    async def start(self, port: int = 0) -> None:
        """Listen on 127.0.0.1."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: Connection(self.handle, self._live), "127.0.0.1", port or self.port, ssl=self._tls
        )
        self.port = self._listener.sockets[0].getsockname()[1]
        self.starts += 1

    async def stop(self) -> None:
        """Close everything at once."""
        await self._close_listener()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.drop_connections()
        await asyncio.sleep(0)
        self._state.close()

    async def _close_listener(self) -> None:
        if self._listener:
            self._listener.close()
            self._listener = None

    def drop_connections(self) -> None:
        """Reset every connection."""
        for connection in list(self._live):
            connection.abort()

    # -- faults that concern the whole server

    async def restart(
        self,
        *,
        seconds: float = 0,
        initializing: float | None = None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        """As a restart of kube-apiserver alone: streams end cleanly, connections close, watch caches forget, objects
        stay. The server writes something of its own when it comes back, so every version that it told before is too
        old to watch from. For ``initializing`` seconds watches get 429. ``seconds`` is how long it is down.
        ``meanwhile`` is done to the stored objects while nobody is connected."""
        await self._close_listener()
        for watch in list(self._watches):
            watch.end()
        for connection in list(self._live):
            connection.cut()
        meanwhile()
        self._state.started()
        await asyncio.sleep(seconds)
        self.faults.initialize(self._initializing if initializing is None else initializing)
        await self.start(self.port)

    def snapshot(self) -> Snapshot:
        """A backup of every object and of the counter, as one of etcd's data."""
        return self._state.take()

    async def restore(self, snapshot: Snapshot, *, seconds: float = 0, initializing: float | None = None) -> None:
        """As when everything is stopped, a backup of etcd put back, and everything started: versions run backwards,
        and those after the backup are given out again. See restart."""
        await self.restart(seconds=seconds, initializing=initializing, meanwhile=lambda: self._state.put_back(snapshot))

    async def replace_cluster(
        self, uid: str | None = None, *, seconds: float = 0, initializing: float | None = None
    ) -> None:
        """From now on another cluster answers at this address, empty but for the definitions. See restart."""
        await self.restart(seconds=seconds, initializing=initializing, meanwhile=lambda: self._state.begin_anew(uid))

    async def refuse(self, seconds: float) -> None:
        """Nobody listens for so long; open connections are reset."""
        await self._close_listener()
        self.drop_connections()
        await asyncio.sleep(seconds)
        await self.start(self.port)

    def expire_history(self) -> None:
        """Everything before now is gone: older watches are 410, page tokens and lists of the past expire. Open streams
        go on."""
        self.store.compact()
        self.store.forget_watches()

    def silence(self, on: bool = True) -> None:
        """While on, open streams and requests stay open and nothing is sent; afterwards they go on."""
        self.faults.silent = on
        if not on:
            held, self._held = self._held, []
            for go_on in held:
                go_on()
            for watch in list(self._watches):
                watch.flush()

    def end_streams(self) -> int:
        """End open watches in order, as a load balancer does. How many."""
        found = list(self._watches)
        for watch in found:
            watch.end()
        return len(found)

    def cut_streams(self, *, mid_line: bool = True, resource: str = "") -> int:
        """Break open watches (of a plural, or all): in the middle of their next line, or now. How many."""
        found = [w for w in self._watches if resource in {"", w.collection.kind.plural}]
        for watch in found:
            if mid_line:
                watch.cut_next = True
            else:
                watch.cut()
        return len(found)

    def inject(self, line: bytes, resource: str) -> None:
        """Send a line to every open watch of a plural."""
        for watch in list(self._watches):
            if watch.collection.kind.plural == resource:
                watch.inject(line)

    @property
    def watching(self) -> int:
        """How many watches are open."""
        return len(self._watches)

    # -- requests

    def handle(self, request: Request, connection: Connection) -> None:
        """Answer a request, now or later."""
        if request.path.startswith("/_sim/"):
            self._spawn(self._admin.answer(request, connection))
            return
        self.asked += 1
        if self.faults.silent:
            self._held.append(lambda: self.handle(request, connection))
        elif self.faults.latency:
            self._spawn(self._late(request, connection))
        else:
            self._answer(request, connection)

    async def _late(self, request: Request, connection: Connection) -> None:
        await asyncio.sleep(self.faults.latency)
        self._answer(request, connection)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _answer(self, request: Request, connection: Connection) -> None:
        try:
            target = self.kinds.resolve(request.path)
            url = request.path + "?" + "&".join(f"{k}={v}" for k, v in request.query.items())
            self.faults.check(request, url)
            user = self._authenticate(request)
            self._authorize(request, user)
            if request.path.strip("/") == REVIEWS:
                connection.respond(self._review(request, user))
                return
            if target and request.method == "GET" and not target.name and self._watch(request, target, connection):
                return
            response = self.routes.answer(request, target)
        except lists.NotYet as e:
            self._spawn(self._wait(request, connection, e))
            return
        except ApiError as e:
            response = failure(e)
        except Exception:
            # A fault of the simulator itself: said to the client, and in full on stderr.
            text = traceback.format_exc()
            sys.stderr.write(text)
            response = failure(errors.internal(f"the simulator failed: {text}"))
        connection.respond(self._compressed(request, response), head_only=request.method == "HEAD")

    async def _wait(self, request: Request, connection: Connection, not_yet: lists.NotYet) -> None:
        """Wait for a version from the future as the server does: 3 s, then 504."""
        reached = asyncio.Event()
        self._awaited.append((not_yet.version, reached))
        try:
            async with asyncio.timeout(self.rules.future_wait * self.rules.scale):
                await reached.wait()
        except TimeoutError:
            connection.respond(failure(not_yet.error))
        else:
            self._answer(request, connection)
        finally:
            self._awaited.remove((not_yet.version, reached))

    def _version_reached(self, change: Change) -> None:
        for version, reached in self._awaited:
            if change.version >= version:
                reached.set()

    def let_in(self, token: str, user: User) -> None:
        """From now on the token stands for the user."""
        self.users[token] = user
        if self.tokens is not None:
            self.tokens.add(token)

    def _authenticate(self, request: Request) -> User:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if request.path in {"/healthz", "/livez", "/readyz"}:
            return ADMINISTRATOR
        if self.tokens is not None and not scheme:
            return ANONYMOUS
        if self.tokens is not None and (scheme.lower() != "bearer" or token not in self.tokens):
            raise errors.unauthorized()
        return self._impersonated(request, self.users.get(token, ADMINISTRATOR))

    def _impersonated(self, request: Request, user: User) -> User:
        """Who the user wants to be taken for, if that is allowed."""
        name, groups = request.headers.get("impersonate-user", ""), request.headers.get("impersonate-group", "")
        if not name:
            return user
        other = User(name, tuple(group.strip() for group in groups.split(",") if group))
        for asked in [Attributes("impersonate", "", "users", name=name)] + [
            Attributes("impersonate", "", "groups", name=group) for group in other.groups
        ]:
            if self.rbac and not self._authorizer.allowed(user, asked):
                raise forbidden(asked, user.name)
        return other

    def _authorize(self, request: Request, user: User) -> None:
        asked = Attributes.of(request)
        if (self.rbac or user == ANONYMOUS) and not self._authorizer.allowed(user, asked):
            raise forbidden(asked, user.name)

    def _review(self, request: Request, user: User) -> Response:
        """May the user who asks do that? The answer is the question with a status."""
        return review(
            request, lambda asked: not self.rbac or self._authorizer.allowed(user, asked), manager_of(request)
        )

    def _watch(self, request: Request, target: Target, connection: Connection) -> bool:
        if "watch" not in request.query:
            return False
        options = lists.Options.parse(target, request.query)
        if not options.watch:
            return False
        acceptable(request)
        if self.faults.initializing:
            raise errors.initializing()
        watch = Watch(self.store, self.store.collection(target.kind), options, self.rules, lambda: self.faults.silent)
        watch.on_close = lambda: self._watches.discard(watch)
        self._watches.add(watch)
        try:
            watch.open(connection, self.faults)
        except ApiError:
            self._watches.discard(watch)
            raise
        return True

    def _compressed(self, request: Request, response: Response) -> Response:
        if len(response.body) > GZIP_FROM and "gzip" in request.headers.get("accept-encoding", ""):
            response.body = gzip.compress(response.body, 1)
            response.headers = {**response.headers, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        return response
