"""How Sphinx and MyST-NB make a site of the chapters: `make docs` writes it to _docs/.

The notebooks are read as they were committed, and not run. The site asks no network: formulas become MathML, drawings in
mermaid were drawn by JupyterLab (tools/browser_pictures.py), and the search needs no server.
"""
import sys
from pathlib import Path

import ziamath

sys.path.insert(0, str(Path(__file__).parent))

project = "niels-gpt"
author = "the niels-gpt authors"
copyright = "the niels-gpt authors; Apache License 2.0"
extensions = ["myst_nb", "course_site"]
exclude_patterns = ["**/.*", "**/_*"]
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "html_image"]
myst_dmath_double_inline = True
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 3
myst_heading_slug_func = "course_site.slug"
html_theme = "furo"
html_title = "niels-gpt"
html_static_path = ["static", str(Path(ziamath.__file__).parent / "fonts/STIXTwoMath-Regular.ttf")]  # a font with large brackets
html_favicon = "static/favicon.svg"
html_css_files = ["site.css"]
html_copy_source = False
html_math_renderer = "mathml"
