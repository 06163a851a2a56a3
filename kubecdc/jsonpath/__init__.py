"""The path language of Argo Events: gjson for reading, sjson for writing, on decoded JSON.

https://github.com/tidwall/gjson/blob/master/SYNTAX.md, https://github.com/tidwall/sjson#path-syntax. What of it is not
supported is refused when the path is compiled: ``@pretty``, JSON lines (``..``), ``@join`` that keeps duplicates.
"""

from kubecdc.jsonpath.parse import compile  # noqa: A004 - the word everybody knows, as in `re.compile`
from kubecdc.jsonpath.partial import Partial
from kubecdc.jsonpath.read import MISSING, Path, text
from kubecdc.jsonpath.write import Target, compile_target, set_path

__all__ = ["MISSING", "Partial", "Path", "Target", "compile", "compile_target", "set_path", "text"]
