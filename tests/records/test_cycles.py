import gc

import pytest

from sla_bench.records.record_cache import no_search_for_cycles


@no_search_for_cycles()
def fail_in_a_pause():
    assert not gc.isenabled()
    raise ValueError("bad")


def test_the_search_goes_on_afterwards_even_after_an_error():
    assert gc.isenabled()
    with pytest.raises(ValueError, match="bad"):
        fail_in_a_pause()
    assert gc.isenabled()


def test_an_inner_pause_does_not_end_the_outer_one():
    with no_search_for_cycles():
        with no_search_for_cycles():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
