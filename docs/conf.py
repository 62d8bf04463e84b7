"""Sphinx's settings; `make docs` (scripts/build_docs.py) lays out the pages and runs it."""

import serve_deploy

project = "serve"
html_title = "serve"
version = release = serve_deploy.__version__
project_copyright = "the serve authors, Apache-2.0"

extensions = ["myst_parser"]
root_doc = "README"
# The slugs that GitHub gives its headings, so that links to them hold here and there.
myst_heading_anchors = 4

html_theme = "furo"
html_static_path = ["site"]
html_css_files = ["tables.css"]
html_copy_source = False
html_show_sphinx = False
templates_path: list[str] = []
