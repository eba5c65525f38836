# make lab      install, and open JupyterLab at the map of the course
# make chat     install, and talk to the shipped model in the terminal
# make test     install, and run every notebook and every test but those of make browser
# make browser  install, and run every notebook in JupyterLab in a headless Chromium
# make docs     install what it needs, and write the chapters as a site into _docs/
# make run      run every notebook again and write its outputs; then commit them
# make clean    remove the virtual environment and the caches

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ROOT_FLAG := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: lab chat test browser docs run clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# make/make/p' Makefile

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "niels-gpt needs Python 3.11 or newer; set PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]" -c constraints.txt
	@touch $@

lab: $(READY)
	$(BIN)/jupyter lab $(ROOT_FLAG) $(ARGS) nbs/index.ipynb

chat: $(READY)
	$(BIN)/python -m niels_gpt.chat_cli $(ARGS)

PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

test: $(READY)
	$(PYTEST) -m "not browser" $(ARGS)

browser: $(READY)
	BROWSER=required $(PYTEST) -m browser tests/test_browser.py tests/test_browser_2.py $(ARGS)

docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[docs]" -c constraints.txt
	$(BIN)/python -m sphinx -q -W --keep-going -c docs -d _docs/.doctrees nbs _docs $(ARGS)
	@rm -rf jupyter_execute  # myst-nb's own copies, beside the site
	$(BIN)/python tools/check_site.py _docs
	@echo "open _docs/index.html"

run: $(READY)
	$(BIN)/python tools/notebooks.py run
	$(BIN)/python tools/course_map.py

clean:
	rm -rf $(VENV) data/cache .pytest_cache _docs jupyter_execute
