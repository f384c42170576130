# Two commands do everything, each on its own: `make book` and `make test`.
# The same steps without make, for Windows, stand in README.md.
PY = .venv/bin/python
PYTEST = $(PY) -m pytest tests book --nbval --nbval-sanitize-with tests/nbval_sanitize.cfg \
	-n auto --dist loadfile

.PHONY: help book test test-all check execute serve bench clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' Makefile

book: ## build the book from its stored outputs; prints the page to open
	@sh tools/environment.sh book
	@$(PY) -m tools.build

test: check ## everything that must pass: ruff, pyright, pytest, notebooks, browser
	$(PYTEST) -m "not slow"

test-all: check ## the same and the slow suites
	$(PYTEST)

check:
	@sh tools/environment.sh test
	@$(PY) -m tools.browser
	@$(PY) -m tools.build
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pyright --pythonpath $(PY)

execute: ## run all notebooks again and store what changed
	@sh tools/environment.sh test
	@$(PY) -m tools.execute

serve: ## show the built book on a local address
	@sh tools/environment.sh book
	@$(PY) -m tools.serve

bench: ## measure the fast forms against plain matrix products
	@sh tools/environment.sh test
	@$(PY) -m fastattn_lite bench

clean: ## remove the environment and all that was built
	rm -rf .venv _build
