"The other half of the chapters in JupyterLab. They have a file of their own so that a second worker can take them."
import pytest
from test_browser import ELSEWHERE, check_all, desk, pytestmark  # noqa: F401


@pytest.mark.parametrize("name", ELSEWHERE)
def test_chapter_runs_in_lab(desk, name):  # noqa: F811
    check_all(desk, name)
