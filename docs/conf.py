"""How Sphinx builds the site: `make docs`."""

from __future__ import annotations

import os
import tempfile

# Airflow is imported for the reference, and makes its home where it is told to.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airbyte-docs-")

from airflow_provider_airbyte_api import __version__

project = "airflow-provider-airbyte-api"
author = "the authors of airflow-provider-airbyte-api"
copyright = "2026, the authors of airflow-provider-airbyte-api. Apache License 2.0"  # noqa: A001 - Sphinx reads it
release = version = __version__
html_title = f"Airbyte API for Airflow {version}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "sphinxcontrib.mermaid"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
myst_fence_as_directive = ["mermaid"]  # so that GitHub draws the diagrams, too
exclude_patterns = ["_build"]
# Links to files of the repository that are no pages of the site.
myst_links_external_new_tab = True
nitpicky = False

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True

html_theme = "furo"
html_theme_options = {"navigation_with_keys": True}
html_static_path = ["_static"]
html_css_files = ["phone.css"]
html_show_sourcelink = False
copybutton_exclude = ".linenos, .gp, .go"
