import pytest
from real_formats import write_category_pickles, write_cifar10

from sla_bench.data.glyphs import GLYPHS
from sla_bench.views.augment import ImageBatches


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """Where glyphs are rendered to."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def reduced_glyphs(monkeypatch):
    monkeypatch.setattr("sla_bench.data.glyphs.GLYPHS", GLYPHS.reduced(30, 10))


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    """A folder with small files of CIFAR-10 and FC100."""
    root = tmp_path_factory.mktemp("data")
    write_cifar10(root)
    write_category_pickles(root, "fc100", 20)
    return root


@pytest.fixture
def images_read(monkeypatch):
    """Numbers of images that were read without augmentation, in a list to which each reading appends."""
    read, plain = [], ImageBatches.plain

    def counted(self, index):
        read.append(len(index))
        return plain(self, index)

    monkeypatch.setattr(ImageBatches, "plain", counted)
    return read
