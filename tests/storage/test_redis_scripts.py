"""A script has the functions of its prelude that it uses, and no others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kubecdc.storage.redis_server.scripts import assembled, parts, with_used

STORAGE = Path(__file__).parents[2] / "storage"

PRELUDE = """\
-- Of all scripts.
local p = KEYS[1]

-- The largest of two.
local function max(a, b)
  if a > b then return a end
  return b
end

local function maximum(list)
  local found = list[1]
  for _, each in ipairs(list) do
    found = max(found, each)
  end
  return found
end

local function key(name) return p .. ':' .. name end
local function same(one) return one end

local function other()
  return max(1, 2)
end
"""


def test_what_is_used_stays_with_what_that_uses() -> None:
    source = with_used(parts(PRELUDE), "return maximum(ARGV)\n")
    assert "local p = KEYS[1]" in source
    assert "-- The largest of two.\nlocal function max(a, b)" in source
    assert "local function maximum(list)" in source
    assert "other" not in source
    assert source.endswith("return maximum(ARGV)\n")


def test_a_name_that_only_begins_like_it_is_another() -> None:
    source = with_used(parts(PRELUDE), "return redis.call('GET', 'maxima')\n")
    assert "function" not in source
    assert "largest" not in source, "its comment goes with it"


def test_a_function_of_one_line_ends_with_it() -> None:
    source = with_used(parts(PRELUDE), "return redis.call('GET', key(ARGV[1]))\n")
    assert "local function key(name) return p .. ':' .. name end\n" in source
    assert source.count("function") == 1


@pytest.mark.parametrize("kind", ["redis", "rq"])
def test_each_script_has_the_functions_that_it_calls(kind: str) -> None:
    places = [STORAGE / kind / "lua", STORAGE / "redis_server" / "lua"]
    preludes = "".join(path.read_text() for place in places for path in place.glob("*.lua"))
    functions = re.findall(r"^local function (\w+)", preludes, re.MULTILINE)
    names = {str(path.relative_to(place).with_suffix("")) for place in places for path in place.glob("*/*.lua")}
    assert len(functions) > 40 and len(names) > 20
    for name in names:
        source = re.sub(r"--.*", "", assembled(f"kubecdc.storage.{kind}", name)[0])
        made = set(re.findall(r"local function (\w+)", source))
        assert {function for function in functions if re.search(rf"\b{function}\(", source)} <= made, name
