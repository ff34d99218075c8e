"""Built-in nodes: thin declarations over the public API and `nodegraph.diffusion`."""
