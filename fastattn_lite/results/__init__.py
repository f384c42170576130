"""Measured results as package data, so that pages, figures and notebooks read the same files.

`schema.json` beside this file is their one JSON Schema. A result is named by its file.
"""

from fastattn_lite.results.store import list_results, load_result, new_result, save_result
from fastattn_lite.results.validation import validate_result

__all__ = ["list_results", "load_result", "new_result", "save_result", "validate_result"]
