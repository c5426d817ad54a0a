"""The command line, one module a command group; the only room that prints or exits.

Imports everything else, when it is used.
"""
