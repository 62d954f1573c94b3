import pytest


@pytest.fixture(scope="session")
def glyph_root(tmp_path_factory):
    """A data root in which glyphs are rendered once for all models."""
    return tmp_path_factory.mktemp("glyphs")
