"""Filters: which events of a dependency its Sensor handles. The rules are those of Argo Events.

https://argoproj.github.io/argo-events/sensors/filters/intro/; docs/argo-compatibility.md lists the differences.
"""
