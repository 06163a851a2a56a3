"""Figures of speed, memory and CPU, each beside a bare loop of the same work. Run with ``make bench``."""
