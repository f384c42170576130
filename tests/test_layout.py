"""The shape of the code: public names, what docstrings say, short functions, lazy imports."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastattn_lite
from fastattn_lite import Expansion, Moments

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*ROOT.glob("fastattn_lite/**/*.py"), *ROOT.glob("tools/**/*.py")])
STEPS = ("reference", "expansion", "factorization", "moments", "attention")
MODULES = (
    *STEPS,
    "normalization",
    "matrix",
    "complexity",
    "sentences",
    "multipole",
    "clusters",
    "gauss",
    "scaling",
    "roofline",
)
LONGEST = 30
OPTIONAL = {"torch", "triton", "matplotlib", "anywidget", "jsonschema"}
MAY_IMPORT = {
    "figures": {"anywidget", "matplotlib"},
    "autograd.py": {"torch"},
    "check/torch_memory.py": {"torch"},
    "gpu_calls.py": {"torch"},
    "kernels": {"torch", "triton"},
}
"""What a part of the package, imported only where it is used, may import at its top."""
EQUATION_OR_CHAPTER = re.compile(r"\b(Equation: eq-[a-z-]+ \(chapter \w+\)|Chapter: \w+)\.")

SIGNATURES = {
    "fast_attention": "query, key, value, *, order=2, expansion=None, is_causal=False, scale=None, "
    "normalization='none', chunk_size=None, backend='auto', return_state=False, "
    "initial_state=None",
    "softmax_attention": "query, key, value, *, is_causal=False, scale=None",
    "kernel_attention": "query, key, value, *, expansion, is_causal=False, scale=None",
    "attention_weights": "query, key, *, expansion=None, is_causal=False, scale=None",
    "taylor": "order, *, radius=1.0",
    "chebyshev": "order, *, radius=1.0",
    "minimax": "order, *, radius=1.0",
    "order_for": "tolerance, *, radius=1.0, family='minimax'",
    "number_of_features": "dim, order",
    "multi_indices": "dim, order",
    "monomial_features": "x, order",
    "feature_weights": "expansion, dim",
    "row_entropy": "weights",
    "attention_distance": "weights",
    "ratio_limit": "expansion, low, high",
    "Moments.accumulate": "key, value, *, order, chunk_size=None",
    "Moments.update": "self, key, value, *, chunk_size=None",
    "Moments.evaluate": "self, query, expansion, *, chunk_size=None",
    "Moments.__add__": "self, other",
    "Expansion.__call__": "self, x",
    "Expansion.derivative": "self",
    "Expansion.is_positive": "self, radius=None",
    "Expansion.max_error": "self",
    "Expansion.oscillation": "self",
    "Expansion.output_error_bound": "self",
    "Expansion.gradient_bound": "self",
}
TAKE_ARRAYS = (
    "fast_attention",
    "softmax_attention",
    "attention_weights",
    "monomial_features",
    "row_entropy",
    "attention_distance",
    "normalize",
    "Moments.accumulate",
    "Moments.evaluate",
)


def named(name: str) -> object:
    """Return the public object of a dotted name."""
    found = fastattn_lite
    for part in name.split("."):
        found = getattr(found, part)
    return found


def plain(signature: inspect.Signature) -> str:
    """Return a signature without its types."""
    empty = inspect.Parameter.empty
    bare = [p.replace(annotation=empty) for p in signature.parameters.values()]
    return str(inspect.Signature(bare)).strip("()")


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function and method of a source file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_of_code(source: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many lines the body of a function has, without docstring and empty lines."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    lines = source.splitlines()[body[0].lineno - 1 : node.end_lineno] if body else []
    return sum(bool(line.strip()) for line in lines)


def imported_at_the_top(tree: ast.Module) -> set[str]:
    """Return the first names of all modules that importing this one imports."""
    found: set[str] = set()
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += [
                child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)
            ]
    return found


def public_members(name: str) -> Iterator[tuple[str, str]]:
    """Yield each public function and method of a module with its docstring."""
    tree = ast.parse((ROOT / "fastattn_lite" / f"{name}.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, ast.get_docstring(node) or ""
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, ast.get_docstring(node) or ""
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and member.name[0] != "_":
                    yield f"{node.name}.{member.name}", ast.get_docstring(member) or ""


@pytest.mark.parametrize("name", SIGNATURES)
def test_public_names_keep_their_signatures(name):
    assert plain(inspect.signature(named(name))) == SIGNATURES[name]


def test_public_attributes_of_the_classes():
    expansion = fastattn_lite.minimax(2, radius=2.0)
    assert isinstance(expansion, Expansion)
    assert (len(expansion.coefficients), expansion.order, expansion.radius) == (3, 2, 2.0)
    assert expansion.name == "minimax"
    assert {"sums", "order", "dim", "key_map"} <= set(Moments.__dataclass_fields__)


def test_every_exported_name_exists_and_none_is_private():
    assert sorted(fastattn_lite.__all__) == fastattn_lite.__all__
    assert all(hasattr(fastattn_lite, name) for name in fastattn_lite.__all__)
    assert {name.partition(".")[0] for name in SIGNATURES} <= set(fastattn_lite.__all__)


@pytest.mark.parametrize("module", MODULES)
def test_every_public_member_says_what_it_returns(module):
    for name, text in public_members(module):
        assert text, f"{module}.{name} has no docstring"
        first = text.splitlines()[0]
        assert first[0].isupper(), name
        assert re.search(r"[.;:]$", first), f"{module}.{name}: the first line is a sentence"


@pytest.mark.parametrize("name", fastattn_lite.__all__)
def test_exported_functions_name_their_place_in_the_book(name):
    member = named(name)
    if inspect.isfunction(member):
        assert EQUATION_OR_CHAPTER.search(inspect.getdoc(member) or ""), name


@pytest.mark.parametrize("name", TAKE_ARRAYS)
def test_functions_of_arrays_state_formula_shapes_cost_and_errors(name):
    text = inspect.getdoc(named(name)) or ""
    if name == "Moments.accumulate":  # its formula is that of the class
        text += inspect.getdoc(Moments) or ""
    for words in (r"Formula:", r"Shapes?:", r"Cost:", r"Raises |Errors as "):
        assert re.search(words, text), f"{name}: {words}"


@pytest.mark.parametrize("module", STEPS)
def test_each_step_opens_with_what_it_computes(module):
    tree = ast.parse((ROOT / "fastattn_lite" / f"{module}.py").read_text(encoding="utf-8"))
    assert len((ast.get_docstring(tree) or "").splitlines()) > 2


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_function_is_long(path):
    source = path.read_text(encoding="utf-8")
    long = [f.name for f in functions(path) if lines_of_code(source, f) > LONGEST]
    assert long == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_optional_libraries_are_imported_where_they_are_used(path):
    found = imported_at_the_top(ast.parse(path.read_text(encoding="utf-8"))) & OPTIONAL
    parts = (name for name in MAY_IMPORT if path.is_relative_to(ROOT / "fastattn_lite" / name))
    assert found <= set().union(*(MAY_IMPORT[name] for name in parts))


def test_planted_faults_are_seen():
    tree = ast.parse("try:\n    import torch.nn\nexcept ImportError:\n    pass")
    assert imported_at_the_top(tree) == {"torch"}
    assert imported_at_the_top(ast.parse("def f():\n    import torch")) == set()
    body = "".join(f"    x = {i}\n\n" for i in range(31))
    for source in (
        f"def f(\n    a,\n    b,\n):\n{body}",
        f'def f():\n    """A.\n\n    B."""\n{body}',
    ):
        node = ast.parse(source).body[0]
        assert isinstance(node, ast.FunctionDef)
        assert lines_of_code(source, node) == 31
    assert not EQUATION_OR_CHAPTER.search("Equation: none.")
