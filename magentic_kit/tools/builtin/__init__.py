"""Safe plugins that most teams need (`files`, `sql`, `fetch`, `math`): plain Semantic Kernel classes."""
