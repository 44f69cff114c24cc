"""An archive's files in shards."""

from __future__ import annotations

import pytest

from faceinsight.batch.job import shards_of
from faceinsight.batch.sources import Source


@pytest.mark.parametrize(("photos", "workers"), [(1, 2), (16, 8), (160, 2), (5000, 3)])
def test_shards_hold_every_file_once_and_become_smaller_so_that_nobody_waits_long(photos, workers):
    sources = [Source(f"/{n}.jpg", "photo") for n in range(photos)] + [Source(f"/{n}.mp4", "clip", n) for n in (1, 2)]
    shards = [shard.sources for shard in shards_of(sources, "0001", workers)]
    assert shards[:2] == [(sources[-1],), (sources[-2],)]
    assert [source for shard in shards[2:] for source in shard] == sources[:-2]
    sizes = [len(shard) for shard in shards[2:]]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == min(64, max(1, photos // (2 * workers)))
    assert sizes[-1] == 1
