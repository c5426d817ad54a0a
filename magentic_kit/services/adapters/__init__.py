"""Subclasses of Semantic Kernel's connectors that read what those pass over in a reply, one module for each.

They are put before a connector's class. Each says by `set_ending` why a reply ended, adds the model's reasoning to
the message's items, and takes answers that the connector would fail at.
"""
