"""How Sphinx builds the pages. `make docs` calls it, with warnings as errors."""

import fastlsm

project = "fastlsm"
author = "the fastlsm developers"
release = fastlsm.__version__
html_title = f"fastlsm {release}"

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "sphinx_copybutton", "sphinx_design"]
exclude_patterns = ["_build"]
nitpicky = True  # a reference that leads nowhere is an error
default_role = "autolink"  # `x` is a link where x is a public name, else in italics
autodoc_typehints = "none"  # the docstrings have the types
rst_prolog = ".. currentmodule:: fastlsm"

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_copy_source = False
html_context = {"default_mode": "auto"}
html_sidebars = {page: [] for page in ("index", "start", "cross_entropy", "api")}  # they have no pages below them
html_theme_options = {
    "navbar_center": ["navbar-nav"],
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
    "pygments_light_style": "tango",
}
copyright = "the fastlsm developers, Apache-2.0"

numpydoc_validation_checks = {
    "all",
    "ES01",  # a summary may be enough
    "EX01",
    "SA01",
}

# Prompts and results stay behind when an example is copied.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
