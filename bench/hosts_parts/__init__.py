"""The parts of ``python -m bench.hosts``: hosts and links, broker, driver."""
