"""Go templates: the text that Go itself gives, what is refused when they are compiled, and what they may compute."""

from __future__ import annotations

import json
import re
from pathlib import Path
from time import thread_time
from typing import Any

import pytest

from kubecdc.workers.sensor import templates
from kubecdc.workers.sensor.templates import INLINE, Meter, NeedsThread, Runaway, TemplateError, of_json
from kubecdc.workers.sensor.templates.functions import REMOVED

GO = json.loads((Path(__file__).parents[1] / "data" / "templates" / "go.json").read_text())
NOTHING = {"it gives nothing": "", "it gives no value": "<no value>"}  # errors here, as in Argo Events


def rendered(text: str, given: Any, meter: Meter | None = None) -> str:
    return templates.compile(text).render(of_json(given), meter)


def test_templates_give_what_go_with_sprig_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """The texts of Go 1.26 with sprig 3.3.0, null for an error; among them all that were measured beforehand."""
    monkeypatch.setenv("TZ", "UTC")
    different = []
    for text, expected in GO["templates"]:
        try:
            found: str | None = rendered(text, GO["input"])
        except TemplateError as e:
            found = NOTHING.get(str(e))
        if found != expected:
            different.append((text, expected, found))
    assert different == []
    assert len(GO["templates"]) > 200


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("{{ uper .Input }}", "line 1, column 4: function 'uper' not defined", "did you mean `upper`?"),
        ("{{ xyzzy .Input }}", "function 'xyzzy' not defined", "functions: https://masterminds.github.io/sprig/"),
        ("a\n{{ env `HOME` }}", "line 2, column 4: function 'env' not defined", "the environment of the worker"),
        ("{{ if .Input }}", "line 1", "its syntax is that of Go"),
        ("{{ .Input", "unclosed action", "its syntax is that of Go"),
        ("{{ $x }}", "undefined variable", "its syntax is that of Go"),
        ("{{ end }}", "unexpected end", "its syntax is that of Go"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "nesting limit", "its syntax is that of Go"),
        ("\ud800", "surrogate", ""),
        ("x" * 20_000, "20000 characters; at most 16384", ""),
    ],
)
def test_what_is_no_template_is_refused_with_its_place(text: str, message: str, hint: str) -> None:
    with pytest.raises(TemplateError) as raised:
        templates.compile(text)
    assert message in str(raised.value)
    assert hint in raised.value.hint


@pytest.mark.parametrize("name", sorted(REMOVED))
def test_functions_that_reach_beyond_the_event_or_compute_keys_do_not_exist(name: str) -> None:
    with pytest.raises(TemplateError, match="not defined") as raised:
        templates.compile(f"{{{{ {name} `a` }}}}")
    assert REMOVED[name] in raised.value.hint


@pytest.mark.parametrize(
    "text", ["{{ .Input.missing }}", "", "{{ if false }}x{{ end }}", "{{ `` }}", "{{ fail `no` }}"]
)
def test_a_template_that_gives_nothing_is_an_error(text: str) -> None:
    with pytest.raises(TemplateError):
        rendered(text, {"a": 1})


def test_a_template_is_compiled_once() -> None:
    assert templates.compile("{{ .Input.once }}") is templates.compile("{{ .Input.once }}")


def test_an_event_cannot_bring_a_template() -> None:
    templates.compile("{{ .Input.known }}")
    with templates.only_known():
        assert templates.compile("{{ .Input.known }}").render({"known": "x"}) == "x"
        with pytest.raises(TemplateError, match="an event cannot bring a template"):
            templates.compile("{{ .Input.unknown }}")
    templates.compile("{{ .Input.unknown }}")


TWICE = (
    "{{ $x := list `a` }}{{ $y := list `a` }}{{ range until 40 }}{{ $x = list $x $x }}{{ $y = list $y $y }}{{ end }}"
)
DICTS = "{{ $x := dict }}{{ range until 40 }}{{ $x = dict `a` $x `b` $x }}{{ end }}"
ITSELF = "{{ $d := dict }}{{ $_ := set $d `a` $d }}"
HUGE = "{{ $x := repeat 50000 `x` }}"
HOSTILE = {
    "repeat": "{{ repeat 1000000000 `x` }}",
    "until": "{{ until 50000000 }}",
    "untilStep": "{{ untilStep 0 1000000000 1 }}",
    "seq": "{{ seq 1000000000 }}",
    "a width": "{{ printf `%1000000000d` 1 }}",
    "a precision": "{{ printf `%.1000000000f` 1.0 }}",
    "a width among the values": "{{ printf `%*d` 1000000000 1 }}",
    "many widths": "{{ printf `" + "%9999d" * 1500 + "` }}",
    "a value a thousand times": HUGE + "{{ printf `" + "%[1]s" * 1000 + "` $x }}",
    "nested ranges": "{{ range until 10000 }}{{ range until 10000 }}{{ end }}{{ end }}",
    "a range of a number": "{{ range 1000000000 }}{{ end }}",
    "many actions in a range": "{{ range 1000000000 }}" + "{{ if .x }}{{ end }}" * 500 + "{{ end }}",
    "recursion": "{{ define `a` }}{{ template `a` }}{{ end }}{{ template `a` }}",
    "a billion templates": "".join(
        f"{{{{ define `t{i}` }}}}{{{{ template `t{i + 1}` }}}}{{{{ template `t{i + 1}` }}}}{{{{ end }}}}"
        for i in range(40)
    )
    + "{{ define `t40` }}{{ end }}{{ template `t0` }}",
    "a list twice in itself": TWICE + "{{ $x }}",
    "its JSON": TWICE + "{{ toJson $x }}",
    "its pretty JSON": TWICE + "{{ toPrettyJson $x }}",
    "printf of it": TWICE + "{{ printf `%v` $x }}",
    "html of it": TWICE + "{{ html $x }}",
    "uniq of it": TWICE + "{{ uniq $x }}",
    "equality of it": TWICE + "{{ deepEqual $x $y }}",
    "a dict twice in itself": DICTS + "{{ $x }}",
    "a copy of it": DICTS + "{{ deepCopy $x }}",
    "dicts filled from above": "".join(f"{{{{ $d{i} := dict }}}}" for i in range(41))
    + "".join(f"{{{{ $_ := set $d{i} `l` $d{i + 1} }}}}{{{{ $_ := set $d{i} `r` $d{i + 1} }}}}" for i in range(40))
    + "{{ $d0 }}",
    "a dict in itself": ITSELF + "{{ $d }}",
    "JSON of a dict in itself": ITSELF + "{{ toJson $d }}",
    "a merge of a dict in itself": ITSELF + "{{ merge $d $d }}",
    "doubling": "{{ $x := `x` }}{{ range until 40 }}{{ $x = cat $x $x }}{{ end }}{{ $x }}",
    "quotes": '{{ $x := `"` }}{{ range until 60 }}{{ $x = quote $x }}{{ end }}',
    "replace": HUGE + "{{ replace `x` $x $x }}",
    "join": HUGE + "{{ join $x (splitList `` $x) }}",
    "wrap": HUGE + "{{ wrapWith 1 $x $x }}",
    "indent": "{{ indent 1000000 (repeat 10000 `\n`) }}",
    "uniq": "{{ uniq (until 50000) | len }}",
    "has": "{{ range until 1000 }}{{ has -1 (until 10000) }}{{ end }}",
    "splitList": "{{ range until 10000 }}{{ $x := splitList `` $.Input.text }}{{ end }}",
    "sortAlpha": "{{ range until 1000 }}{{ $x := sortAlpha (until 10000) }}{{ end }}",
    "a replacement by a regular expression": HUGE + "{{ regexReplaceAll `x` $x $x }}",
    "repetitions": "{{ regexMatch `((a{1000}){1000}){1000}` `a` }}",
    "a large regular expression": "{{ regexMatch `" + r"\pL" * 300 + "` `a` }}",
    "backtracking": "{{ regexMatch `(a+)+$` (print (repeat 50000 `a`) `b`) }}",
    "quadratic matching": "{{ regexFindAll `(x*)y|x` (repeat 60000 `x`) -1 | len }}",
    "many matches": "{{ range until 1000 }}{{ regexReplaceAll `(a|b)*?c?` $.Input.text `` | len }}{{ end }}",
    "random text": "{{ randAlphaNum 100000000 | len }}",
    "random bytes": "{{ randBytes 1000000000 | len }}",
    "snakecase": "{{ range until 10000 }}{{ $x := snakecase $.Input.text }}{{ end }}",
    "a long version": "{{ semverCompare (repeat 100000 `1 `) `1.2.3` }}",
    "a long layout": "{{ range until 100000 }}{{ $x := now | date $.Input.text }}{{ end }}",
    "a method of text": "{{ .Input.text.zfill 1000000000 }}",
    "format of Python": "{{ .Input.format.format .Input }}",
    "strftime": "{{ (now).strftime `%1000000000Y` }}",
    "the whole event, often": "{{ range until 100000 }}{{ $.Input }}{{ end }}",
    "an event that grows": "{{ range until 100000 }}{{ $_ := set $.Input (print .) $.Input }}{{ end }}{{ .Input }}",
    "deep JSON": "{{ fromJson (print (repeat 100000 `[`) (repeat 100000 `]`)) }}x",
    "chunks": "{{ $x := chunk 1000 (until 1000) }}{{ range until 40 }}{{ $x = list $x $x }}{{ end }}{{ toJson $x }}",
}
GIVEN = {"text": "ab c" * 15_000, "many": list(range(5000)), "format": "{0.__class__.__mro__}{0:>1000000000}"}
FEW_MILLISECONDS = 1.0  # of CPU: thirty times what the worst of them takes, and a hundredth of what they ask for


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_template_computes_for_long(text: str) -> None:
    compiled, given = templates.compile(text), of_json(GIVEN)
    for meter, seconds in ((Meter(INLINE, inline=True), FEW_MILLISECONDS), (Meter(100_000), 5.0)):
        begun = thread_time()
        try:
            assert len(compiled.render(given, meter)) < 1_000_000
        except (NeedsThread, Runaway, TemplateError) as e:
            assert isinstance(e, NeedsThread) is (meter.inline and meter.left < 0)
        assert thread_time() - begun < seconds


def test_the_templates_of_an_event_share_what_they_may_compute() -> None:
    meter, compiled = Meter(6000), templates.compile("{{ repeat 10000 `x` | len }}")
    for _ in range(2):
        compiled.render("", meter)
    with pytest.raises(Runaway):
        compiled.render("", meter)


def test_a_list_of_two_thousand_can_be_gathered_piece_by_piece() -> None:
    nodes = [{"name": f"n{i}", "phase": "Failed"} for i in range(2000)]
    text = "{{ $l := list }}{{ range .Input }}{{ $l = append $l .name }}{{ end }}{{ join `,` $l }}"
    assert rendered(text, nodes) == ",".join(f"n{i}" for i in range(2000))


def test_text_of_an_event_is_never_read_as_a_template() -> None:
    assert rendered("{{ .Input }}", "{{ fail `no` }}") == "{{ fail `no` }}"


def test_fields_that_python_knows_too_are_those_of_the_event() -> None:
    given = {"items": {"keys": "k", "count": 1.0, "title": {"format": "f", "index": ["i"]}}}
    text = (
        "{{ .Input.items.keys }}{{ .Input.items.count }}{{ .Input.items.title.format }}{{ .Input.items.title.index }}"
    )
    assert rendered(text, given) == "k1f[i]"


def test_the_examples_of_the_documentation_give_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    text = (Path(__file__).parents[2] / "docs" / "templates.md").read_text()
    pod = {
        "type": "UPDATE",
        "time": "2026-01-01T12:34:56.123456Z",
        "body": {
            "metadata": {"name": "w1", "labels": {"app.kubernetes.io/name": "shop"}, "generation": 12345678},
            "spec": {"replicas": 3, "template": {"a": [1, None]}},
            "status": {
                "phase": "Failed",
                "nodes": {"n": {"phase": "Failed", "displayName": "n-1"}, "m": {"phase": "ok"}},
            },
        },
    }
    examples = re.findall(r"(?:^\| `|Template: [\"'])(\{\{.*?\}\}.*?)(?:` \||[\"']\})", text, re.MULTILINE)
    assert [rendered(example.replace("\\|", "|"), pod) for example in examples] == [
        "W1 is Failed",
        "12:34",
        "w1",
        "3",
        "shop",
        "none",
        "n-1 ",
        '{"a":[1,null]}',
        "there",
    ]
    assert rendered("{{ eq .Input.body.spec.replicas 3.0 }}", pod) == "true"
    assert rendered("{{ .Input.body.metadata.generation }}", pod) == "1.2345678e+07"
    assert rendered("{{ int64 .Input.body.metadata.generation }}", pod) == "12345678"
    assert all(f"`{name}`" in text for name in REMOVED)
