"""The commands of `magentic-kit`, a module for those that belong together."""
