"""The server: an HTTP API over a durable queue, and worker processes that run what is in it.

The server process imports neither torch nor a plugin. See `models` for everything that goes over the wire.
"""
