"""Workflows that ship with nodegraph: each a template, a test and a page of the documentation."""
