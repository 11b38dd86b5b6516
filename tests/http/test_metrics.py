"""What scrapers read."""

import re

from tests.running import RunningServer


def test_a_histogram_says_how_long_commits_took(server: RunningServer, name: str) -> None:
    server.register(name)
    page = server.api.get("/metrics").text
    buckets = {
        float(bound): float(count)
        for bound, count in re.findall(r'^relevo_commit_seconds_bucket\{le="(.+?)"\} (\S+)$', page, re.M)
    }
    counts = [buckets[bound] for bound in sorted(buckets)]
    assert counts == sorted(counts)
    assert len(counts) == 11
    total = re.search(r"^relevo_commit_seconds_count (\S+)$", page, re.M)
    assert total is not None
    assert buckets[float("inf")] == float(total[1]) > 0
