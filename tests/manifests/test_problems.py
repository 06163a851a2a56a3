"""What is wrong is said in one line: where, what, and the way out."""

# ruff: noqa: E501 - the tables have a line for each case

from __future__ import annotations

import pytest

from kubecdc.workers.objects import document
from kubecdc.workers.scripts import program
from kubecdc.workers.triggers.registry import installed
from tests.manifests.support import SOURCE, bus, loaded, problems, sensor, source

CONDITIONS = ("conditions", "conditionsKey", "conditionsReset", "conditionsTTL")
TEMPLATE_FIELDS = ", ".join(sorted([*installed().types, *CONDITIONS, "name"]))
EXAMPLES = " or ".join(f"`{name}: {kind.example}`" for name, kind in installed().types.items())
ENTRIES = [
    ("eventTypes: []", "eventTypes: is empty: nothing would ever be sent; name some of ADD, UPDATE and DELETE"),
    ("eventTypes: [add]", "eventTypes[0]: must be one of ADD, UPDATE, DELETE, not the text 'add'; did you mean `ADD`?"),
    ("eventTypes: ADD", "eventTypes: must be a list, not the text 'ADD'; begin each of its entries with `- `"),
    ("resource: Pod", "resource: 'Pod' is not a resource; write the plural in lower case, such as `workflows`"),
    ("resource: pods/status", "resource: 'pods/status' is a subresource, which cannot be watched"),
    ("version: 1", 'version: must be text, not the number 1; put it in quotes: "1"'),
    ("version: apps/v1", "version: 'apps/v1' is not a version; the group goes into `group`"),
    ("group: apps/v1", "group: 'apps/v1' is not an API group; the version goes into `version`"),
    ('namespace: "a,b"', "namespace: takes one namespace; for several, write `namespaces: [a, b]`"),
    ('namespace: "*"', "namespace: '*' is not a namespace; leave `namespace` out for all namespaces"),
    (
        "namespace: a, namespaces: [b]",
        "namespaces: cannot be given together with `namespace`; name them all in `namespaces`",
    ),
    ("namespaces: []", "namespaces: must not be empty; leave it out for all namespaces"),
    ("namespaces: [a, a]", "namespaces: names a namespace twice"),
    ("namespaceSelector: {}", "namespaceSelector: is empty, which selects every namespace; leave it out for all namespaces"),
    ("namespaceSelector: {matchLabel: {a: b}}", "namespaceSelector.matchLabel: is not a field; did you mean `matchLabels`?"),
    (
        "namespaces: [a], namespaceSelector: {matchLabels: {a: b}}",
        "namespaceSelector: cannot be given together with `namespace` or `namespaces`; give one of them",
    ),
    (
        "namespaceSelector: {matchExpressions: [{key: a, operator: In}]}",
        "namespaceSelector.matchExpressions[0].values: must not be empty with operator `In`",
    ),
    (
        "namespaceSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}",
        "namespaceSelector.matchExpressions[0].values: must be empty with operator `Exists`; "
        "leave it out, or use In or NotIn",
    ),
    ("auditInterval: 10ms", "auditInterval: must be at least 1s; or 0 for no audits"),
    ("inventory: version", "inventory: must be one of versions, objects, none, not the text 'version'; did you mean `versions`?"),
    ("initialList: yes", "initialList: must be one of emit, skip, not true"),
    ("metadata: {a: 1}", 'metadata.a: must be text, not the number 1; put it in quotes: "1"'),
    ("labels: []", "labels: is not a field here; it belongs inside `filter`"),
    ("afterStart: true", "afterStart: is not a field here; it belongs inside `filter`"),
    ("eventBusName: x", "eventBusName: is not a field here; it belongs two levels up, beside `resource`"),
    ("kind: Pod", "kind: is not a field; write `resource`, the plural in lower case, such as `workflows`"),
    ("eventType: [ADD]", "eventType: is not a field; did you mean `eventTypes`?"),
    ("filter: {afterStart: 'yes'}", "filter.afterStart: must be true or false, not the text 'yes'"),
    ("filter: {createdBy: 2026-01-31}", "filter.createdBy: '2026-01-31' is not an RFC 3339 time; write it like 2026-01-31T12:00:00Z"),
    ("filter: {createdBy: 2026-02-31T12:00:00Z}", "filter.createdBy: '2026-02-31T12:00:00Z' is not a time: day is out of range for month"),
    ("filter: {expression: x}", "filter.expression: is not a field; Argo has it for other sources only: use `fields`"),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "line"), ENTRIES)
def test_an_entry_is_refused(entry: str, line: str) -> None:
    given = entry.split(":")[0]
    text = source(entry)
    for name in ("version", "resource", "eventTypes"):
        if given == name:  # instead of the one that is right
            text = text.replace({"version": "version: v1, ", "resource": "resource: pods, "}.get(name, "eventTypes: [ADD], "), "")  # fmt: skip
    assert problems(text) == [f"document 1, EventSource/pods: spec.resource.changed.{line}"]


LABELS = [
    ('key: a, operation: "<=", value: "1"', "operation: must be one of =, ==, !=, in, notin, exists, !, gt, lt, not the text '<='"),
    ("key: a, operation: In, value: b", "operation: must be one of =, ==, !=, in, notin, exists, !, gt, lt, not the text 'In'; did you mean `in`?"),
    ("key: a, operation: exists, value: b", "value: must be empty with operation `exists`; leave it out, or use == or !="),
    ('key: a, operation: "!", value: b', "value: must be empty with operation `!`; leave it out, or use == or !="),
    ("key: a, operation: gt, value: b", "value: must be an integer with operation `gt`, not 'b'"),
    ("key: a, operation: gt", "value: must be an integer with operation `gt`, not ''"),
    ('key: a, operation: in, value: "b, c"', "value: ' c' is not a label value; values are split at commas and not trimmed: leave out the spaces"),
    ('key: a, value: "b,c"', "value: 'b,c' is not a label value; several values need operation `in` or `notin`"),
    ("key: a, value: -b", "value: '-b' is not a label value; at most 63 characters of a-z, A-Z, 0-9, -, _ and ., with a letter or digit at both ends"),
    ("key: a, value: yes", 'value: must be text, not true; put it in quotes: "true"'),
    ("key: a/b/c, value: d", "key: 'a/b' is not a Kubernetes name; at most 253 characters of a-z, 0-9 and -, with a letter or digit at both ends"),
    ('key: "", value: d', "key: '' is not a label key; such as `app` or `app.kubernetes.io/name`"),
    ("value: d", "key: is required"),
    ("key: a, operator: in, value: b", "operator: is not a field; did you mean `operation`?"),
]  # fmt: skip


@pytest.mark.parametrize(("label", "line"), LABELS)
def test_a_label_selector_is_refused(label: str, line: str) -> None:
    found = problems(source(f"filter: {{labels: [{{{label}}}]}}"))
    assert found == [f"document 1, EventSource/pods: spec.resource.changed.filter.labels[0].{line}"]


FIELDS = [
    ("key: a..b, value: c", "key: 'a..b' has an empty part"),
    ("key: a.@pretty, value: c", "key: `@pretty` is not supported: values are always written compactly"),
    ("key: a, value: (", "value: '(' is not a regular expression: missing ): (; the syntax is RE2: no lookaround, no backreferences"),
    ("key: a, value: (?=b)", "value: '(?=b)' is not a regular expression: invalid perl operator: (?=; the syntax is RE2: no lookaround, no backreferences"),
    ("key: a, operation: in, value: b", "operation: must be one of =, ==, !=, not the text 'in'"),
    ("key: a, value: 3", 'value: must be text, not the number 3; put it in quotes: "3"'),
    ("key: a", "value: is required"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "line"), FIELDS)
def test_a_field_selector_is_refused(field: str, line: str) -> None:
    found = problems(source(f"filter: {{fields: [{{{field}}}]}}"))
    assert found == [f"document 1, EventSource/pods: spec.resource.changed.filter.fields[0].{line}"]


TEMPLATES = [
    ("", f"template: has no trigger type; add {EXAMPLES}"),
    ("log: {}, http: {url: 'http://x'}", "template: has 2 types: log, http; make a trigger of each"),
    ("log: {intervalSeconds: -1}", "template.log.intervalSeconds: must be at least 0"),
    ("log: {interval: 1}", "template.log.interval: is not a field; did you mean `intervalSeconds`?"),
    ("log: yes", "template.log: must be a mapping, not true"),
    ("logs: {}", "template.logs: is not a field; did you mean `log`? If `logs` is a type from another package, install the package"),
    ("matrix: {}", f"template.matrix: is not a field; the fields here are {TEMPLATE_FIELDS}. If `matrix` is a type from another package, install the package"),
    ("log: {}, matrix: {}", f"template.matrix: is not a field; the fields here are {TEMPLATE_FIELDS}"),
    ("nats: {url: x}", "template.nats: trigger type `nats` is not supported"),
    ("kafka: {url: 'k:9092', topic: t, schemaRegistry: {url: 'http://r', schemaId: 0}}", "template.kafka.schemaRegistry.schemaId: must be at least 1"),
    ("kafka: {url: 'k:9092', topic: t, schemaRegistry: {url: 'r:8081', schemaId: 1}}", "template.kafka.schemaRegistry.url: is not the address of a schema registry; write it like https://registry:8081"),
    ("kafka: {url: 'k:9092', topic: t, schemaRegistry: {url: 'http://u:secret@r', schemaId: 1}}", "template.kafka.schemaRegistry.url: has a user; put user and password into Secrets, and name them in `auth`"),
    ("kafka: {url: 'k:9092', topic: t, schemaRegistry: {url: 'http://r', schemaId: 1, auth: {username: {name: s, key: k}}}}", "template.kafka.schemaRegistry.auth: needs both `username` and `password`"),
    ("kafka: {url: 'k:9092', topic: t, brokers: x}", "template.kafka.brokers: is not a field; did you mean `url`?"),
    ("kafka: {url: 'k:9092', topic: t, parameters: [{src: {dependencyName: pod, value: x}, dest: url}]}", "template.kafka.parameters[0].dest: `url` cannot depend on the event; make a trigger of each cluster"),
    ("argoWorkflow: {}", "template.argoWorkflow.source: is required"),
    ("argoWorkflow: {source: {resource: {kind: Workflow}}}", "template.argoWorkflow.source.resource: it has no `apiVersion`"),
    ("argoWorkflow: {source: {resource: {}}, args: [-p, a=b, --parameter-file, x]}", "template.argoWorkflow.args[2]: --parameter-file cannot be used; write the parameters as `-p NAME=VALUE`, or into `source`"),
    ("log: {}, conditionsReset: [{byTime: {cron: '@daily'}}]", "template.conditionsReset[0].byTime: '@daily' is not a cron expression of five fields; write it like `0 * * * *`"),
    ("log: {}, conditionsReset: [{byTime: {cron: '0 * * * *', timezone: Berlin}}]", "template.conditionsReset[0].byTime: 'Berlin' is not a time zone; write it like `Europe/Berlin`"),
    ("log: {}, conditionsTTL: 0s", "template.conditionsTTL: must be a second or more"),
    ("log: {}, conditionsKey: 'a.['", "template.conditionsKey[\"*\"]: `[` is not closed in it"),
    ("log: {}, conditionsKey: {pot: a}", "template.conditionsKey.pot: `pot` is not a dependency of this Sensor; did you mean `pod`?"),
    ("log: {}, conditions: 'pod &&'", "template.conditions: ends where the name of a dependency is expected"),
    ("log: {}, dlqTrigger: {}", "template.dlqTrigger: is not a field here; it belongs one level up, beside `template`"),
    ("log: {}, parameters: []", "template.parameters: is not a field here; it belongs one level up, beside `template`"),
    ("log: {}, paused: true", "template.paused: is not a field here; it belongs one level up, beside `template`"),
    ("log: {}, payload: []", "template.payload: is not a field here; it belongs inside `http`"),
    ("log: {}, conditions: 'pod && other'", "template.conditions: `other` is not a dependency of this Sensor; available: `pod`"),
    ("http: {}", "template.http.url: is required"),
    ("http: {url: ''}", "template.http.url: must not be empty"),
    ("http: {url: receiver/hook}", "template.http.url: 'receiver/hook' is not an HTTP address; https://host/path"),
    ("http: {url: 'http://x:99999/a'}", "template.http.url: 'http://x:99999/a' is not an HTTP address: there is no port 99999, only 1 to 65535; https://example.com:8443/path"),
    ("http: {url: ' http://x '}", "template.http.url: ' http://x ' is not an HTTP address: it has a blank at an end; leave the blank out"),
    ("http: {url: 'http://{{ .host }}.x/a'}", "template.http.url: 'http://{{ .host }}.x/a' is not an HTTP address: '{{ .host }}.x' is neither a name nor an IP address; https://example.com:8443/path"),
    ("http: {url: 'http://a b/'}", "template.http.url: 'http://a b/' is not an HTTP address: 'a b' is neither a name nor an IP address; https://example.com:8443/path"),
    ("http: {url: 'http://a..b/'}", "template.http.url: 'http://a..b/' is not an HTTP address: 'a..b' is neither a name nor an IP address; https://example.com:8443/path"),
    ("http: {url: 'http://user:secret@/x?token=secret'}", "template.http.url: '***@/x' is not an HTTP address: it has no host; https://example.com:8443/path"),
    ("http: {url: 'http://user:sec?ret@x:y/'}", "template.http.url: '***' is not an HTTP address: what stands for its host and port is neither a name nor an IP address; https://example.com:8443/path"),
    ("http: {url: \"http://x/a\\tb\"}", "template.http.url: 'http://x/a\\tb' is not an HTTP address: it has characters that cannot be sent; percent-encode them"),
    ("http: {urll: x}", "template.http.urll: is not a field; did you mean `url`?"),
    ("http: {serverURL: x}", "template.http.url: 'x' is not an HTTP address; https://host/path"),
    ("http: {url: 'http://x', conditions: pod}", "template.http.conditions: is not a field here; it belongs one level up, beside `http`"),
    ("k8s: {source: {git: {filePath: a}}}", "template.k8s.source.git.url: is required"),
    ("k8s: {source: {s3: {endpoint: e, bucket: {name: b}}}}", "template.k8s.source.s3.bucket.key: is required"),
    ("argoWorkflow: {source: {url: {}}}", "template.argoWorkflow.source.url.path: is required"),
    ("http: {url: 'http://x', method: post}", "template.http.method: must be one of GET, DELETE, PATCH, POST, PUT, not text; did you mean `POST`?"),
    ("http: {url: 'http://x', method: HEAD}", "template.http.method: must be one of GET, DELETE, PATCH, POST, PUT, not text"),
    ("http: {url: 'http://x', timeout: '5'}", "template.http.timeout: must be a whole number, not text; write it without quotes"),
    ("http: {url: 'http://x', timeout: 1000000000000}", "template.http.timeout: must be at most 31536000"),
    ("http: {url: 'http://x', timeout: 5s}", "template.http.timeout: must be a whole number, not text"),
    ("http: {url: 'http://x', headers: {a b: c}}", "template.http.headers: has a name that is not a header name"),
    ("http: {url: 'http://x', headers: {a: \"b\\nc\"}}", "template.http.headers: the value of header `a` has characters that cannot be sent"),
    ("http: {url: 'http://x', headers: {a: 1}}", 'template.http.headers.a: must be text, not a number; put it in quotes'),
    ("http: {url: 'http://x', secureHeaders: [{name: A}]}", "template.http.secureHeaders[0].valueFrom: is required"),
    ("http: {url: 'http://x', secureHeaders: [{name: A, valueFrom: {}}]}", "template.http.secureHeaders[0].valueFrom: needs exactly one of `secretKeyRef` and `configMapKeyRef`"),
    ("http: {url: 'http://x', secureHeaders: [{name: A, valueFrom: {secretKeyRef: {name: s}}}]}", "template.http.secureHeaders[0].valueFrom.secretKeyRef.key: is required"),
    ("http: {url: 'http://x', secureHeaders: [{name: A, valueFrom: {configMapKeyRef: {key: k}}}]}", "template.http.secureHeaders[0].valueFrom.configMapKeyRef.name: is required"),
    ("http: {url: 'http://x', secureHeaders: [{name: A, valueFrom: {secretKeyRef: {name: s, key: ../../k}}}]}", "template.http.secureHeaders[0].valueFrom.secretKeyRef.key: is not a key of a Secret or ConfigMap; letters, digits, `-`, `_` and `.`"),
    ("http: {url: 'http://x', secureHeaders: [{name: A, valueFrom: {secretKeyRef: {name: .., key: k}}}]}", "template.http.secureHeaders[0].valueFrom.secretKeyRef.name: is not a Kubernetes name; at most 253 characters of a-z, 0-9 and -, with a letter or digit at both ends"),
    ("http: {url: 'http://x', secureHeaders: [{name: a b, valueFrom: {secretKeyRef: {name: s, key: k}}}]}", "template.http.secureHeaders[0].name: is not a header name"),
    ("http: {url: 'http://x', dynamicHeaders: [{src: {dependencyName: pod, value: x}}]}", "template.http.dynamicHeaders[0].dest: is required"),
    ("http: {url: 'http://x', dynamicHeaders: [{src: {dependencyName: pods}, dest: A}]}", "template.http.dynamicHeaders[0].src.dependencyName: `pods` is not a dependency of this Sensor; its dependency is `pod`"),
    ("http: {url: 'http://x', dynamicHeaders: [{src: {dependencyName: pod}, dest: A, operation: append}]}", "template.http.dynamicHeaders[0].operation: must be one of overwrite, not text"),
    ("http: {url: 'http://x', basicAuth: {}}", "template.http.basicAuth: needs `username` or `password`"),
    ("http: {url: 'http://x', basicAuth: {user: {name: s, key: k}}}", "template.http.basicAuth.user: is not a field; did you mean `username`?"),
    ("http: {url: 'http://x', tls: {}}", "template.http.tls: says nothing; leave it out: https:// is verified by the system's authorities"),
    ("http: {url: 'http://x', tls: {clientCertSecret: {name: s, key: k}}}", "template.http.tls: needs both `clientCertSecret` and `clientKeySecret`, or neither"),
    ("http: {url: 'http://x', tls: {insecureSkipVerify: 'true'}}", "template.http.tls.insecureSkipVerify: must be true or false, not text; write true without quotes"),
    ("http: {url: 'http://x', tls: {caCertPath: x}}", "template.http.tls.caCertPath: is not a field; did you mean `caCertSecret`?"),
    ("http: {url: 'http://x', host: a/b}", "template.http.host: is not a host; write it like example.com or example.com:8443"),
    ("http: {url: 'http://x', parameters: [{src: {dependencyName: pod}, dest: tls.insecureSkipVerify}]}", "template.http.parameters[0].dest: `tls` cannot depend on the event; make a trigger of each server"),
    ("http: {url: 'http://x', payload: [{src: {dependencyName: pod, dataKey: 'a.#('}}]}", "template.http.payload[0].src.dataKey: `(` is not closed in it"),
    ("http: {url: 'http://x', payload: [{src: {dependencyName: pod, dataTemplate: '{{ .Input | uper }}'}}]}", "template.http.payload[0].src.dataTemplate: is not a template: line 1, column 13: function 'uper' not defined; did you mean `upper`?"),
    ("http: {url: 'http://x', parameters: [{src: {dependencyName: pod, contextTemplate: '{{ env \"A\" }}'}, dest: url}]}", "template.http.parameters[0].src.contextTemplate: is not a template: line 1, column 4: function 'env' not defined; Argo Events has it, kubecdc does not: the environment of the worker is not for templates"),
    ("http: {url: 'http://x', dynamicHeaders: [{src: {dependencyName: pod, dataTemplate: '{{ if .Input }}'}, dest: A}]}", "template.http.dynamicHeaders[0].src.dataTemplate: is not a template: line 1, column 16: unexpected EOF; its syntax is that of Go: https://pkg.go.dev/text/template"),
    ("http: {url: 'http://x', payload: [{src: {dependencyName: pod, value: 1}, dest: a}]}", 'template.http.payload[0].src.value: must be text, not a number; put it in quotes'),
    ("http: {url: 'http://x', payload: [{src: {dependencyName: pod}, dest: a|b}]}", "template.http.payload[0].dest: cannot be written to: it has a pipe, a modifier, a length or a multipath"),
    ("http: {url: 'http://x', payload: [{src: {dependencyName: pods}, dest: a}]}", "template.http.payload[0].src.dependencyName: `pods` is not a dependency of this Sensor; its dependency is `pod`"),
    ("http: {url: 'http://x', payload: [{src: {dependencyName: pod}, dest: a, operation: add}]}", "template.http.payload[0].operation: must be one of overwrite, append, prepend, not text"),
    ("http: {url: 'http://x', parameters: [{src: {dependencyName: pod}}]}", "template.http.parameters[0].dest: is required"),
    ("http: {url: 'http://x', parameters: [{src: {dependencyName: pod}, dest: ulr}]}", "template.http.parameters[0].dest: `http` has no field `ulr`; did you mean `url`?"),
]  # fmt: skip


@pytest.mark.parametrize(("template", "line"), TEMPLATES)
def test_a_template_is_refused(template: str, line: str) -> None:
    assert problems(SOURCE, sensor(template)) == [f"document 2, Sensor/notify: spec.triggers[0].{line}"]


TRIGGERS = [
    ("retryStrategy: {steps: '3'}", "retryStrategy.steps: must be a whole number, not the text '3'; write 3 without quotes"),
    ("retryStrategy: {steps: -1}", "retryStrategy.steps: must be at least 0"),
    ("retryStrategy: {factor: '2'}", "retryStrategy.factor: must be a number, not the text '2'; write 2 without quotes"),
    ("retryStrategy: {jitter: '0.5'}", "retryStrategy.jitter: must be a number, not the text '0.5'; write 0.5 without quotes"),
    ("retryStrategy: {duration: '10'}", "retryStrategy.duration: '10' is not a duration; write it like 500ms, 10s or 1m"),
    ("retryStrategy: {duration: 1.5}", "retryStrategy.duration: must be a duration such as 10s, or a whole number of nanoseconds"),
    ("retryStrategy: {duration: -1s}", "retryStrategy.duration: must not be below 0"),
    ("retryStrategy: {step: 1}", "retryStrategy.step: is not a field; did you mean `steps`?"),
    ("policy: {status: {allow: []}}", "policy.status.allow: is empty: no answer would ever be a success"),
    ("policy: {status: {allow: [20]}}", "policy.status.allow[0]: must be at least 100"),
    ("policy: {status: {allow: ['200']}}", "policy.status.allow[0]: must be a whole number, not the text '200'; write 200 without quotes"),
    ("policy: {k8s: {}}", "policy.k8s.labels: is required"),
    ("policy: {k8s: {labels: {}}}", "policy.k8s.labels: is empty: nothing would be waited for; leave the policy out"),
    ("policy: {k8s: {labels: {a: b}}}", "policy: `k8s` is for triggers that make Kubernetes objects"),
    ("rateLimit: {unit: Second}", "rateLimit.requestsPerUnit: is required"),
    ("rateLimit: {unit: Day, requestsPerUnit: 1}", "rateLimit.unit: must be one of Second, Minute, Hour, not the text 'Day'"),
    ("rateLimit: {requestsPerUnit: 0}", "rateLimit.requestsPerUnit: must be at least 1"),
    ("dlqTrigger: {}", "dlqTrigger.template: is required"),
    ("dlqTrigger: {template: {name: tell, log: {}}}", "dlqTrigger.template.name: 2 triggers have the name `tell`"),
    ("dlqTrigger: {template: {name: b, log: {}}, dlqTrigger: {template: {name: c, log: {}}}}", "dlqTrigger.dlqTrigger: is not a field; a dlqTrigger has none of its own: what it fails for is a dead letter in the bus"),
    ("dlqTrigger: {template: {name: b, log: {}, conditions: pod}}", "dlqTrigger.template: has conditions: a dlqTrigger runs when its trigger has failed; leave them out"),
    ("dlqTrigger: {template: {name: b, log: {}}, paused: true}", "dlqTrigger.paused: is not a field; pause the trigger"),
    ("dlqTrigger: {template: {name: b, http: {url: nowhere}}}", "dlqTrigger.template.http.url: 'nowhere' is not an HTTP address; https://host/path"),
    ("dlqTrigger: {template: {name: b, log: {}}, parameters: [{src: {dependencyName: x}, dest: log.intervalSeconds}]}", "dlqTrigger.parameters[0].src.dependencyName: `x` is not a dependency of this Sensor; its dependency is `pod`"),
    ("dlqTrigger: {template: {name: b, log: {}}, parameters: [{src: {dependencyName: pod}, dest: http.url}]}", "dlqTrigger.parameters[0].dest: `http.url` is not in this trigger; it is relative to the template: start with `log.`"),
    ("dlqTrigger: {template: {name: b, log: {}}, retryStrategy: {steps: '3'}}", "dlqTrigger.retryStrategy.steps: must be a whole number, not the text '3'; write 3 without quotes"),
    ("dlqTrigger: {template: {name: b, log: {}}, policy: {k8s: {labels: {a: b}}}}", "dlqTrigger.policy: `k8s` is for triggers that make Kubernetes objects"),
    ("atLeastOnce: 'true'", "atLeastOnce: must be true or false, not the text 'true'; write true without quotes"),
    ("url: http://x", "url: is not a field here; it belongs inside `template.http`"),
    ("name: x", "name: is not a field here; it belongs inside `template`"),
    ("parameters: [{src: {dependencyName: pod}, dest: url}]", "parameters[0].dest: `url` is not in this trigger; it is relative to the template: start with `log.`"),
    ("parameters: [{src: {dependencyName: pod}, dest: log.interval}]", "parameters[0].dest: `log` has no field `interval`; did you mean `intervalSeconds`?"),
    ("parameters: [{src: {dependencyName: x}, dest: log.intervalSeconds}]", "parameters[0].src.dependencyName: `x` is not a dependency of this Sensor; its dependency is `pod`"),
    ("parameters: [{src: {}, dest: log.intervalSeconds}]", "parameters[0].src.dependencyName: is required"),
]  # fmt: skip


@pytest.mark.parametrize(("trigger", "line"), TRIGGERS)
def test_a_trigger_is_refused(trigger: str, line: str) -> None:
    assert problems(SOURCE, sensor("log: {}", trigger)) == [f"document 2, Sensor/notify: spec.triggers[0].{line}"]


DEPENDENCIES = [
    ("{name: a, eventSourceName: pods, eventName: changed}, {name: a, eventSourceName: pods, eventName: changed}", "spec.dependencies[1].name: two dependencies have the name `a`"),
    ("{name: a, eventSourceName: pods, eventName: changed}, {name: b, eventSourceName: pods, eventName: change}", "spec.dependencies[1].eventName: EventSource `pods` has no event `change`; did you mean `changed`?"),
    ("", "spec.dependencies: is empty: a Sensor needs a dependency"),
    ("{name: pod, eventSourceName: pods, eventName: changed, filtersLogicalOperator: OR}", "spec.dependencies[0].filtersLogicalOperator: must be one of and, or, not the text 'OR'; did you mean `or`?"),
    ("{name: pod, eventSourceName: pod, eventName: changed}", "spec.dependencies[0].eventSourceName: there is no EventSource `pod`; did you mean `pods`?"),
    ("{name: pod, eventSourceName: pods, eventName: change}", "spec.dependencies[0].eventName: EventSource `pods` has no event `change`; did you mean `changed`?"),
    ("{name: pod, eventSourceName: pods, eventName: xyz}", "spec.dependencies[0].eventName: EventSource `pods` has no event `xyz`; available: `changed`"),
    ("{name: '', eventSourceName: pods, eventName: changed}", "spec.dependencies[0].name: must not be empty"),
]  # fmt: skip


@pytest.mark.parametrize(("dependencies", "line"), DEPENDENCIES)
def test_dependencies_are_refused(dependencies: str, line: str) -> None:
    text = sensor("log: {}").replace("{name: pod, eventSourceName: pods, eventName: changed}", dependencies)
    assert problems(SOURCE, text) == [f"document 2, Sensor/notify: {line}"]


TRANSFORMS = [
    ("jq: 'foo('", "jq: is not valid: line 1, column 4: syntax error, unexpected end of file"),
    ("jq: 'nothing'", "jq: is not valid: line 1, column 1: nothing/0 is not defined"),
    ("jq: 'import \"a\" as $a; .'", "jq: is not valid: module not found: a"),
    ("jq: [a]", "jq: must be text, not a list"),
    ("script: 'local x = = 1'", "script: is not valid: script:1: unexpected symbol near '='"),
    ("script: 'return'", ""),
    ("script: \"\\eLua\"", "script: is not valid: it is compiled already: write it as text"),
    ("script: return event, jq: .", ": has `jq` and `script`; leave one of them out; Argo Events runs `jq` only"),
    ("lua: return event", "lua: is not a field; the fields here are jq, script"),
]  # fmt: skip


@pytest.mark.parametrize(("transform", "line"), TRANSFORMS)
def test_transforms_are_refused(transform: str, line: str) -> None:
    text = sensor("log: {}").replace("eventName: changed}", f"eventName: changed, transform: {{{transform}}}}}")
    if not line:
        assert loaded(SOURCE, text)
        return
    assert problems(SOURCE, text) == [
        f"document 2, Sensor/notify: spec.dependencies[0].transform{'' if line.startswith(':') else '.'}{line}"
    ]


@pytest.mark.parametrize(("transform", "package"), [("jq: .", "jq"), ("script: return event", "lupa")])
def test_a_package_that_is_missing_is_named(transform: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "find_spec", lambda name: None)
    text = sensor("log: {}").replace("eventName: changed}", f"eventName: changed, transform: {{{transform}}}}}")
    field = transform.partition(":")[0]
    assert problems(SOURCE, text) == [
        f"document 2, Sensor/notify: spec.dependencies[0].transform.{field}: needs the package `{package}`, "
        "which is not installed; pip install 'kubecdc[scripts]'"
    ]


BUCKET = "s3: {endpoint: e, bucket: {name: b, key: k}}"
APP = "{privateKey: {name: n, key: k}, appID: 1, installationID: 1}"
APPS = f"git: {{url: 'https://github.com/t/r', filePath: a.yaml, branch: main, githubApp: {APP}}}"


@pytest.mark.parametrize("trigger", ["k8s: {operation: create, ", "argoWorkflow: {operation: submit, "])
@pytest.mark.parametrize(
    ("place", "field", "package", "extra"),
    [(BUCKET, "s3", "boto3", "s3"), (APPS, "git.githubApp", "cryptography", "github")],
)
def test_a_package_that_a_source_needs_is_named(
    trigger: str, place: str, field: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = sensor(f"{trigger}source: {{{place}}}}}")
    assert loaded(SOURCE, text, to_run=True)
    monkeypatch.setattr(document, "find_spec", lambda name: None if name == package else name)
    assert loaded(SOURCE, text), "a watcher needs none of it"
    assert problems(SOURCE, text, to_run=True) == [
        f"document 2, Sensor/notify: spec.triggers[0].template.{trigger.partition(':')[0]}.source.{field}: needs the package "
        f"{package}, which is not installed; pip install 'kubecdc[{extra}]'"
    ]


TWO = "{name: a, eventSourceName: pods, eventName: changed}, {name: b, eventSourceName: pods, eventName: changed}"


def needing(conditions: str) -> str:
    """A Sensor of two dependencies."""
    text = sensor(f"log: {{}}{conditions}")
    return text.replace("{name: pod, eventSourceName: pods, eventName: changed}", TWO)


@pytest.mark.parametrize("redis", ["{url: 'redis://r'}", ""])
def test_conditions_need_a_store_that_takes_a_change_for_each_event(redis: str) -> None:
    store = f"checkpoint: {{redis: {redis}}}" if redis else "maxPending: 10"
    buses = bus(f"sqs: {{region: eu-west-1}}, {store}")
    refused = [
        "document 3, Sensor/notify: spec.triggers[0].template.conditions: "
        "EventBus `default` cannot store half-met conditions: its checkpoint store takes no change with each event; "
        "give the EventBus `checkpoint: {sqlite: {path: ./checkpoints.db}}` or "
        "`checkpoint: {redis: {url: 'redis://localhost:6379/0'}}`"
    ]
    if redis:
        loaded(SOURCE, buses, needing(""))
    else:
        assert problems(SOURCE, buses, needing("")) == refused
    loaded(SOURCE, buses, needing(", conditions: a || b"))  # there is nothing to keep


FILTERS = [
    ("expr: []", "expr: is not a field here; it belongs inside `exprs[]`"),
    ("script: x", "script: is not valid: script:1: '=' expected near '<eof>'"),
    ("data: [{path: type, type: string, value: [ADD], template: '{{ uper .Input }}'}]", "data[0].template: is not a template: line 1, column 4: function 'uper' not defined; did you mean `upper`?"),
    ("data: [{type: string, value: [ADD]}]", "data[0].path: is required"),
    ("data: [{path: '', type: string, value: [ADD]}]", "data[0].path: the path is empty"),
    ("data: [{path: a.#(b, type: string, value: [ADD]}]", "data[0].path: `(` is not closed in 'a.#(b'"),
    ("data: [{path: type, value: [ADD]}]", "data[0].type: is required"),
    ("data: [{path: type, type: text, value: [ADD]}]", "data[0].type: must be one of string, number, bool, not the text 'text'"),
    ("data: [{path: type, type: string}]", "data[0].value: is required"),
    ("data: [{path: type, type: string, value: []}]", "data[0].value: is empty: no event would ever pass"),
    ("data: [{path: type, type: string, value: ADD}]", "data[0].value: must be a list, not the text 'ADD'; begin each of its entries with `- `"),
    ("data: [{path: n, type: number, value: [3]}]", 'data[0].value[0]: must be text, not the number 3; put it in quotes: "3"'),
    ("data: [{path: n, type: number, value: ['3', 4a]}]", "data[0]: '4a' is not a number"),
    ("data: [{path: n, type: number, value: ['1e999']}]", "data[0]: '1e999' is not a number"),
    ("data: [{path: n, type: bool, value: ['yes']}]", "data[0]: 'yes' is neither true nor false"),
    ("data: [{path: n, type: string, value: ['(']}]", "data[0]: '(' is not a regular expression of RE2: missing ): ("),
    ("data: [{path: n, type: string, value: ['a{1000}{1000}']}]", "data[0]: 'a{1000}{1000}' is not a regular expression of RE2: bad repetition operator: {1000}{1000}"),
    ("data: [{path: n, type: number, comparator: '==', value: ['1']}]", "data[0].comparator: must be one of =, !=, >=, >, <=, <, not the text '=='"),
    ("data: [{path: n, type: string, comparator: '>', value: [a]}]", "data[0]: values of the type string are compared by = and != only, not by >"),
    ("data: [{path: n, type: bool, comparator: '<', value: ['true']}]", "data[0]: values of the type bool are compared by = and != only, not by <"),
    ("exprs: [{expr: a == 1}]", "exprs[0].fields: is required"),
    ("exprs: [{expr: a == 1, fields: []}]", "exprs[0].fields: is empty: the expression has nothing to look at; name the values of the event: {name, path}"),
    ("exprs: [{expr: a == 1, fields: [{name: a}]}]", "exprs[0].fields[0].path: is required"),
    ("exprs: [{expr: a == 1, fields: [{name: '', path: a}]}]", "exprs[0].fields[0].name: must not be empty"),
    ("exprs: [{expr: a == 1, fields: [{name: a, path: a}, {name: a, path: b}]}]", "exprs[0].fields: two fields have the name 'a'"),
    ("exprs: [{fields: [{name: a, path: a}]}]", "exprs[0].expr: is required"),
    ("exprs: [{expr: '', fields: [{name: a, path: a}]}]", "exprs[0].expr: the expression ends too early"),
    ("exprs: [{expr: a = 1, fields: [{name: a, path: a}]}]", "exprs[0].expr: unexpected '= 1': values are compared with =="),
    ("exprs: [{expr: a == 1 || e == 2, fields: [{name: a, path: a}]}]", "exprs[0].expr: `e` is not the name of one of the `fields`"),
    ("exprLogicalOperator: xor", "exprLogicalOperator: must be one of and, or, not the text 'xor'; did you mean `or`?"),
    ("context: {}", "context: names no attribute; give some of type, source, subject and datacontenttype"),
    ("context: {id: x}", "context: names no attribute; give some of type, source, subject and datacontenttype"),
    ("context: {dataContentType: x}", "context.dataContentType: is not a field; did you mean `datacontenttype`?"),
    ("time: {start: '08:00:00'}", "time.stop: is required"),
    ("time: {start: '08:00', stop: '09:00:00'}", "time.start: '08:00' is not a time of day; write it like 08:30:00"),
    ("time: {start: '08:00:00', stop: '24:00:00'}", "time.stop: '24:00:00' is not a time of day; write it like 08:30:00"),
    ("time: {start: '09:09:0', stop: '19:19:19'}", "time.start: '09:09:0' is not a time of day; write it like 08:30:00"),
    ("time: {start: '8:00:00', stop: '08:00:00'}", "time: `start` and `stop` are the same: no event would ever pass"),
    *(
        (
            f"time: {{start: '08:00:00', stop: '09:00:00', timezone: '{zone}'}}",
            f"time.timezone: {zone!r} is not a time zone; write an IANA name such as Europe/Berlin; without one, it is UTC",
        )
        for zone in ("Mars/Base", "Local", "../../etc/passwd", "/etc/passwd", "Europe", "Europe/", "posixrules/..", "x" * 90)
    ),
    ("dataLogicalOperator: AND", "dataLogicalOperator: must be one of and, or, not the text 'AND'; did you mean `and`?"),
]  # fmt: skip


@pytest.mark.parametrize(("filters", "line"), FILTERS)
def test_filters_are_refused(filters: str, line: str) -> None:
    text = sensor("log: {}").replace("eventName: changed}", f"eventName: changed, filters: {{{filters}}}}}")
    assert problems(SOURCE, text) == [f"document 2, Sensor/notify: spec.dependencies[0].filters.{line}"]


BUSES = [
    ("", "spec: names no type of bus; add `sqlite: {path: ./kubecdc.db}`"),
    ("sqlite: {}", "spec.sqlite.path: is required"),
    ("redis: {url: 'redis://h', bogus: 1}", "spec.redis.bogus: is not a field; the fields here are partitions, password, sentinelPassword, sentinelUsername, tls, url, username"),
    ("redis: {url: x}", "spec.redis.url: is not the URL of a Redis; write it like redis://localhost:6379/0, or rediss:// for TLS; redis+sentinel://host:26379,host2:26379/mymaster/0 for Sentinels, redis+cluster://host:6379,host2:6379 for a cluster"),
    ("redis: {url: 'redis+sentinel://a,b'}", "spec.redis.url: does not name the primary to ask the Sentinels for; write it like redis+sentinel://host:26379,host2:26379/mymaster/0"),
    ("redis: {url: 'redis://u:ge/heim@h'}", "spec.redis.url: cannot be read; write `/`, `?`, `#` and `@` in a user or password as %2F, %3F, %23 and %40"),
    ("redis: {url: 'redis://h', partitions: 0}", "spec.redis.partitions: must be at least 1"),
    ("redis: {url: 'redis://h'}, checkpoint: {redis: {url: 'redis://other'}}", "spec.checkpoint: names another Redis than the bus: a bus of type redis holds its own checkpoint, because events would be lost if only the bus were restored to an earlier state; leave `checkpoint` out"),
    ("redis: {url: 'redis://h'}, checkpoint: {sqlite: {path: b}}", "spec.checkpoint: names another file than the bus: a bus of type redis holds its own checkpoint, because events would be lost if only the bus were restored to an earlier state; leave `checkpoint` out"),
    ("sqlite: {path: a}, checkpoint: {redis: {}}", "spec.checkpoint: names another Redis than the bus: a bus of type sqlite holds its own checkpoint, because events would be lost if only the bus were restored to an earlier state; leave `checkpoint` out"),
    ("rq: {}", "spec.rq.url: is required"),
    ("rq: {url: 'redis+cluster://h'}", "spec.rq: names a cluster, which cannot have RQ's keys and those of a bus in one slot; write it like redis://localhost:6379/0, or redis+sentinel://host:26379,host2:26379/mymaster/0 for Sentinels"),
    ("rq: {url: 'redis://h'}, checkpoint: {redis: {url: 'redis://h'}}", "spec.checkpoint: names another Redis than the bus: a bus of type rq holds its own checkpoint, because events would be lost if only the bus were restored to an earlier state; leave `checkpoint` out"),
    ("sqs: {queuePrefix: a.b}", "spec.sqs.queuePrefix: cannot begin the name of a queue; 1 to 20 letters, digits, - and _"),
    ("sqs: {endpointUrl: localhost}", "spec.sqs.endpointUrl: is not the URL of a server; write it like https://sqs.eu-west-1.amazonaws.com or http://localhost:9324, without path and user"),
    ("sqs: {fairQueues: true}", "spec.sqs: has `fairQueues` on FIFO queues; fair queues are standard queues: add `fifo: false`"),
    ("sqs: {maxMessageBytes: 2Mi}", "spec.sqs.maxMessageBytes: must be from 16Ki to 1Mi; SQS itself takes 1Mi"),
    ("sqlite: {path: a}, checkpoint: {}", "spec.checkpoint: must name one of `sqlite`, `redis` and `configMap`"),
    ("sqlite: {path: a}, checkpoint: {sqlite: {}, redis: {}}", "spec.checkpoint: must name one of `sqlite`, `redis` and `configMap`"),
    ("sqlite: {path: a}, checkpoint: {configMap: {name: X}}", "spec.checkpoint.configMap.name: is not a Kubernetes name; at most 253 characters of a-z, 0-9 and -, with a letter or digit at both ends"),
    ("pubsub: {}, checkpoint: {configMap: {name: x}}", "spec.pubsub.projectID: is required"),
    ("pubsub: {projectID: My Project}", "spec.pubsub.projectID: is not the id of a Google Cloud project; write it like my-project-123"),
    ("pubsub: {projectID: my-project, topic: goog}", "spec.pubsub.topic: cannot be a topic; 3 to 100 characters: letters, digits and -_.~, a letter first, and not `goog` at the beginning"),
    ("pubsub: {projectID: my-project, endpoint: 'https://x'}", "spec.pubsub.endpoint: is not a host; write it like europe-west1-pubsub.googleapis.com, without https://"),
    ("pubsub: {projectID: my-project, messageRetention: 5m}", "spec.pubsub.messageRetention: must be between 10m and 31d, the limits of Pub/Sub"),
    ("sqlite: {path: a}, redis: {url: 'redis://h'}", "spec: names two types of bus, `sqlite` and `redis`; leave one of them out"),
    ("nats: {native: {}}", "spec.nats: EventBus type `nats` is not supported: write `sqlite: {path: ./kubecdc.db}`, or `pubsub`, `redis`, `rq`, `sqs` with its fields"),
    ("jetstream: {version: latest}", "spec.jetstream: EventBus type `jetstream` is not supported: write `sqlite: {path: ./kubecdc.db}`, or `pubsub`, `redis`, `rq`, `sqs` with its fields"),
    ("jetstreamExotic: {}", "spec.jetstreamExotic: EventBus type `jetstreamExotic` is not supported: write `sqlite: {path: ./kubecdc.db}`, or `pubsub`, `redis`, `rq`, `sqs` with its fields"),
    ("kafka: {}", "spec.kafka: EventBus type `kafka` is not supported: write `sqlite: {path: ./kubecdc.db}`, or `pubsub`, `redis`, `rq`, `sqs` with its fields"),
    ("pulsar: {}", "spec.pulsar: is not a field; the fields here are checkpoint, encryption, maxPending, pubsub, redelivery, redis, retention, retentionBytes, rq, sqlite, sqs, subscriptions. If `pulsar` is a type from another package, install the package"),
    ("sqlit: {path: a}", "spec.sqlit: is not a field; did you mean `sqlite`? If `sqlit` is a type from another package, install the package"),
    ("sqlite: {path: a}, checkpoint: {etcd: {}}", "spec.checkpoint.etcd: is not a field; the fields here are configMap, redis, sqlite. If `etcd` is a type from another package, install the package"),
    ("sqlite: {path: a}, encryption: {keys: []}", "spec.encryption.keys: needs a key; leave `encryption` out to encrypt nothing"),
    ("sqlite: {path: a}, encryption: {keys: [{name: s, key: k}, {name: s, key: k}]}", "spec.encryption.keys: names the key `k` of Secret `s` twice; leave one of them out"),
    ("path: ./x.db", "spec.path: is not a field here; it belongs inside `sqlite`"),
    ("sqlite: {path: a}, maxPendng: 1", "spec.maxPendng: is not a field; did you mean `maxPending`?"),
    ("sqlite: {path: a}, maxPending: 0", "spec.maxPending: must be at least 1"),
    ("sqlite: {path: a}, retention: 1d", "spec.retention: is not a duration; write it like 500ms, 30s, 5m or 1h30m"),
    ("sqlite: {path: a}, retention: 60", "spec.retention: must be a duration in quotes or with a unit; write it like 30s, 5m or 1h30m"),
    ("sqlite: {path: a}, retentionBytes: 1GB", "spec.retentionBytes: is not a quantity; write it like 500Mi, 1Gi or 1000000"),
    ("sqlite: {path: a}, ackWait: 5s", "spec.ackWait: is not a field here; it belongs inside `redelivery`"),
    ("sqlite: {path: a}, redelivery: {ackWait: 10ms}", "spec.redelivery.ackWait: must be at least 1s"),
    ("pubsub: {projectID: my-project}, redelivery: {maxDeliveries: 51}", "spec.redelivery: has a `maxDeliveries` of 51; a bus of type pubsub allows 50, because the service gives up by itself after a number of receptions, which are more than attempts; lower it, or use a longer `backoff`"),
    ("sqs: {}, redelivery: {maxDeliveries: 501}", "spec.redelivery: has a `maxDeliveries` of 501; a bus of type sqs allows 500, because the service gives up by itself after a number of receptions, which are more than attempts; lower it, or use a longer `backoff`"),
    ("sqlite: {path: a}, redelivery: {maxDeliveries: -1}", "spec.redelivery.maxDeliveries: must be at least 0"),
    ("sqs: {}, redelivery: {maxDeliveries: 0}", "spec.redelivery: has a `maxDeliveries` of 0, which means to never give up; a bus of type sqs cannot promise that, because the service gives up by itself after a number of receptions; set it to 500 at most"),
    ("sqlite: {path: a}, redelivery: {giveUpAfter: 0s}", "spec.redelivery.giveUpAfter: must be above 0; leave it out so that no event is given up because of its age"),
    ("sqlite: {path: a}, redelivery: {backoff: {factor: 0.5}}", "spec.redelivery.backoff.factor: must be at least 1"),
    ("sqlite: {path: a}, redelivery: {backoff: {jitter: 1.5}}", "spec.redelivery.backoff.jitter: must be at most 1"),
    ("sqlite: {path: a}, redelivery: {backoff: {duration: 0s}}", "spec.redelivery.backoff.duration: must be above 0"),
    ("sqlite: {path: a}, redelivery: {backoff: {duration: 1m, cap: 1s}}", "spec.redelivery.backoff.cap: must not be below `duration`"),
    ("sqlite: {path: a}, checkpoint: {configMap: {name: x}}", "spec.checkpoint: names a ConfigMap: a bus of type sqlite holds its own checkpoint, because events would be lost if only the bus were restored to an earlier state; leave `checkpoint` out"),
    ("sqlite: {path: a}, checkpoint: {sqlite: {path: b}}", "spec.checkpoint: names another file than the bus: a bus of type sqlite holds its own checkpoint, because events would be lost if only the bus were restored to an earlier state; leave `checkpoint` out"),
    ("sqlite: {path: a}, subscriptions: [{name: x, eventSourceName: pods, eventName: chnged}]", "spec.subscriptions[0].eventName: EventSource `pods` has no event `chnged`; did you mean `changed`?"),
    ("sqlite: {path: a}, subscriptions: [{name: notify/tell, eventSourceName: pods, eventName: changed}]", "spec.subscriptions[0].name: `notify/tell` is the subscription of a Sensor's trigger"),
    ("sqlite: {path: a}, subscriptions: [{name: x, eventSourceName: pods, eventName: changed}, {name: x, eventSourceName: pods, eventName: changed}]", "spec.subscriptions[1].name: two subscriptions have the name `x`"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "line"), BUSES)
def test_a_bus_is_refused(spec: str, line: str) -> None:
    assert problems(bus(spec), SOURCE, sensor("log: {}")) == [f"document 1, EventBus/default: {line}"]


ENVELOPES = [
    ("metadata: {name: pods}", "metadata: {name: Pods}", "EventSource/Pods: metadata.name: 'Pods' is not a Kubernetes name; at most 253 characters of a-z, 0-9 and -, with a letter or digit at both ends"),
    ("metadata: {name: pods}", "metadata: {generateName: pods-}", "EventSource: metadata.generateName: is not a field; write `name`: subscriptions and checkpoints are called by it, and must be found again"),
    ("metadata: {name: pods}", "metadata: {name: pods, lables: {}}", "EventSource/pods: metadata.lables: is not a field; did you mean `labels`?"),
    ("kind: EventSource", "kind: EventSorce", "kind: 'EventSorce' is not a kind; did you mean `EventSource`?"),
    ("kind: EventSource\n", "", "kind: is required; it is one of EventBus, EventSource, Sensor"),
    ("v1alpha1", "v1", "apiVersion: 'argoproj.io/v1' is not supported; write argoproj.io/v1alpha1 or kubecdc.io/v1alpha1"),
    ("apiVersion: argoproj.io/v1alpha1\n", "", "apiVersion: is required; it is argoproj.io/v1alpha1 or kubecdc.io/v1alpha1"),
    ("spec:", "spec:\n  template: {container: {env: [{name: KUBECONFIG, value: /x}]}}", "EventSource/pods: spec: `template.container.env` sets KUBECONFIG, which has no effect here: another cluster would be used; remove it, and start kubecdc with --kubeconfig or --context"),
    ("[ADD]}", "[ADD], fieldSelector: a=b}", "EventSource/pods: spec.resource.changed.fieldSelector: is not a field; write `filter: {fields: [{key: status.phase, value: Running}]}`"),
    ("spec:", "specs:", "EventSource/pods: specs: is not a field; did you mean `spec`?"),
    ("  resource:", "  webhook:", "EventSource/pods: spec.webhook: EventSource type `webhook` is not supported"),
    ("    changed:", '    "":', 'EventSource/pods: spec.resource[""]: must not be empty'),
    ("    changed:", '    "a\\nb":', "EventSource/pods: spec.resource[\"a\\nb\"]: 'a\\nb' has characters that cannot be printed, or spaces at an end"),
    ("    changed: {version: v1, resource: pods, eventTypes: [ADD]}", "    {}", "EventSource/pods: spec: has no entries; add some under `resource`"),
    ("    changed: {version: v1, resource: pods, eventTypes: [ADD]}", "    changed: {version: v1, resource: pods}", "EventSource/pods: spec.resource.changed.eventTypes: is required"),
    ("    changed: {version: v1, resource: pods, eventTypes: [ADD]}", "    changed: [a]", "EventSource/pods: spec.resource.changed: must be a mapping, not a list"),
    ("  resource:\n    changed:", "  resource:", "EventSource/pods: spec.resource.version: must be a mapping, not the text 'v1'"),
]  # fmt: skip


@pytest.mark.parametrize(("right", "instead", "line"), ENVELOPES)
def test_an_envelope_is_refused(right: str, instead: str, line: str) -> None:
    assert right in SOURCE
    first = problems(SOURCE.replace(right, instead))[0]
    assert first == (f"document 1, {line}" if line.startswith("EventSource") else f"document 1: {line}")


def test_every_problem_is_reported_not_the_first() -> None:
    assert problems(
        source("namespce: a, filter: {prefx: b}"),
        sensor("log: {}, conditions: x", "retryStrategy: {steps: '1'}", "replica: 1"),
    ) == [
        "document 1, EventSource/pods: spec.resource.changed.filter.prefx: is not a field; did you mean `prefix`?",
        "document 1, EventSource/pods: spec.resource.changed.namespce: is not a field; did you mean `namespace`?",
        "document 2, Sensor/notify: spec.triggers[0].retryStrategy.steps: must be a whole number, not the text '1'; "
        "write 1 without quotes",
        "document 2, Sensor/notify: spec.replica: is not a field; did you mean `replicas`?",
        "document 2, Sensor/notify: spec.triggers[0].template.conditions: `x` is not a dependency of this Sensor; "
        "available: `pod`",
    ]


def test_a_broken_source_is_not_reported_as_missing() -> None:
    text = SOURCE.replace("resource: pods", "resource: Pods")
    assert problems(text, sensor("log: {}")) == [
        "document 1, EventSource/pods: spec.resource.changed.resource: 'Pods' is not a resource; "
        "write the plural in lower case, such as `workflows`"
    ]


def test_null_is_the_same_as_left_out() -> None:
    manifests = loaded(
        source("filter: null, namespace: ~, metadata: null"), sensor("log: null, http: null", "policy: null")
    )
    assert manifests.sources["pods"].spec.resource["changed"].filter.labels == ()
    assert manifests.sensors["notify"].spec.triggers[0].template.type == "log"


def test_a_field_that_is_not_there_is_refused_also_when_it_is_null() -> None:
    assert problems(source("namespce: null")) == [
        "document 1, EventSource/pods: spec.resource.changed.namespce: is not a field; did you mean `namespace`?"
    ]


def test_a_parameter_may_give_the_address() -> None:
    parameter = "[{src: {dependencyName: pod, dataKey: body.spec.url}, dest: %s}]"
    loaded(SOURCE, sensor(f"http: {{url: placeholder, parameters: {parameter % 'url'}}}"))
    loaded(SOURCE, sensor("http: {url: placeholder}", f"parameters: {parameter % 'http.url'}"))


def test_an_event_name_whose_checkpoint_could_be_that_of_a_namespace_is_refused() -> None:
    text = source("filter: {}").replace("changed:", "changed/ns1:")
    assert problems(text) == [
        'document 1, EventSource/pods: spec.resource["changed/ns1"]: '
        "the event name 'changed/ns1' has a `/`; "
        "a checkpoint is called <EventSource>/<event name>/<namespace>: use `-`"
    ]


@pytest.mark.parametrize(
    ("one", "other", "field", "store"),
    [
        ("sqlite: {path: /bus/a.db}", "sqlite: {path: /bus/../bus/./a.db}", "sqlite", "/bus/a.db"),
        (
            "sqlite: {path: /a.db}",
            "sqs: {region: eu-west-1}, checkpoint: {sqlite: {path: //a.db}}",
            "checkpoint",
            "/a.db",
        ),
        (
            "pubsub: {projectID: my-project}",
            "pubsub: {projectID: my-project}",
            "pubsub",
            "projects/my-project/topics/kubecdc",
        ),
        (
            "sqs: {region: a}, checkpoint: {configMap: {name: c}}",
            "sqs: {region: b}, checkpoint: {configMap: {name: c}}",
            "checkpoint",
            "ConfigMap c",
        ),
    ],
)
def test_two_buses_in_one_store_are_refused(one: str, other: str, field: str, store: str) -> None:
    second = bus(other).replace("name: default", "name: second")
    assert problems(bus(one), second) == [
        f"document 2, EventBus/second: spec.{field}: EventBus `default` stores its data there too ({store}); "
        "give each a store of its own, or use `default` alone: set `eventBusName` to it"
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sqlite: {path: a.db}", "sqlite: {path: b.db}"),
        ("redis: {url: 'redis://h'}", "redis: {url: 'redis://h'}"),
        ("rq: {url: 'redis://h'}", "rq: {url: 'redis://h'}"),
        ("sqs: {region: a}", "sqs: {region: a}"),
        ("sqs: {region: a}", "pubsub: {projectID: my-project}"),
        ("pubsub: {projectID: my-project, topic: one}", "pubsub: {projectID: my-project, topic: two}"),
    ],
)
def test_buses_that_are_kept_apart_may_share_a_place(one: str, other: str) -> None:
    assert len(loaded(bus(one), bus(other).replace("name: default", "name: second")).buses) == 2


K8S = [
    ("{}", "k8s.source: is required"),
    (
        "{source: {}}",
        "k8s.source: has no source; write exactly one, such as `resource: {apiVersion: …, kind: …}`",
    ),
    ("{source: {resource: {kind: Job}}}", "k8s.source.resource: it has no `apiVersion`"),
    (
        "{source: {resource: {apiVersion: batch/v1, kind: Job}}}",
        "k8s.source.resource: it has neither `metadata.name` nor `metadata.generateName`",
    ),
    (
        "{operation: update, source: {inline: '{apiVersion: v1, kind: Pod, metadata: {generateName: a}}'}}",
        "k8s.source.inline: it has no `metadata.name`, which update needs",
    ),
    ("{source: {inline: 'a: [1'}}", "k8s.source.inline: it is not plain YAML: did not find expected ',' or ']' "),
    (r"""{source: {inline: "a: 1\n---\nb: 2"}}""", "k8s.source.inline: it has several documents"),
    ("{source: {inline: '- 1'}}", "k8s.source.inline: it is not an object"),
    ("{source: {inline: ''}}", "k8s.source.inline: it is empty"),
    (
        "{operation: patch, patchStrategy: application/json-patch+json, source: {resource: "
        "{apiVersion: v1, kind: Pod, metadata: {name: a}}}}",
        "k8s.source.resource: it has no list `patch` with the operations of a JSON patch",
    ),
    ("{operation: apply, source: {inline: ''}}", "k8s.operation: must be one of create, update, patch, delete, not "),
]


@pytest.mark.parametrize(("config", "line"), K8S)
def test_a_k8s_trigger_is_refused(config: str, line: str) -> None:
    found = problems(SOURCE, sensor(f"k8s: {config}"))
    assert found[0].startswith(f"document 2, Sensor/notify: spec.triggers[0].template.{line}")
