"""A process that is measured, set up as `kubecdc` sets up its own."""

from __future__ import annotations

import logging
import sys

import structlog

from kubecdc.cli.process import collect_less_often


def begin() -> None:
    """Once everything is imported and opened: little garbage is looked for, and the log begins at its usual level."""
    collect_less_often()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),  # the figures are on standard output
    )
