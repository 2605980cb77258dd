"""What Prometheus gets of a run on a joined cluster: Ray's exporter is scraped while the real engine works."""

from __future__ import annotations

import json
import re
import signal
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from tests.processes import Job
from tests.ray_head import ROOT, Head, ray_head

pytestmark = pytest.mark.ray
FLAGS = ["--questions", "400", "--rl_questions", "0", "--engines", "1", "--grace_s", "0"]
OURS = ("requests_running", "requests_waiting", "engine_restarts", "prompt_tokens_total", "output_tokens_total")
VLLMS = ("num_requests_running", "generation_tokens_total", "kv_cache_usage_perc", "time_to_first_token_seconds_count")


def targets(head: Head) -> list[str]:
    """Where Prometheus looks, by the file that Ray writes for it."""
    (file,) = head.folder.glob("session_2*/prom_metrics_service_discovery.json")
    return [target for one in json.loads(file.read_text()) for target in one["targets"]]


def scrape(head: Head) -> dict[str, list[tuple[str, float]]]:
    """The samples of every target: labels and value, by name."""
    found: dict[str, list[tuple[str, float]]] = {}
    for target in targets(head):
        # Those of Ray's autoscaler and dashboard are named before they answer.
        with suppress(OSError), urllib.request.urlopen(f"http://{target}/metrics", timeout=10) as answer:
            for line in answer.read().decode().splitlines():
                if sample := re.fullmatch(r"(\w+)\{(.*)\} (\S+)", line):
                    found.setdefault(sample[1], []).append((sample[2], float(sample[3])))
    return found


def test_a_scrape_shows_our_metrics_and_those_of_vllm(tmp_path: Path) -> None:
    with ray_head("metrics", tmp_path / "ray.log", {"PYTHONPATH": str(ROOT)}) as head:
        run = tmp_path / "run"
        asked = ["--engine_args", '{"disable_log_stats": false}']
        arguments = ["--address", head.address, *FLAGS, *asked, "--out", str(run)]
        job = Job("generation.run", arguments, tmp_path / "log", head.environment)
        wanted = {f"ray_skillfactory_{name}" for name in OURS} | {f"ray_vllm_{name}" for name in VLLMS}
        found: dict[str, list[tuple[str, float]]] = {}
        try:
            deadline = time.monotonic() + 400
            while not wanted <= found.keys() or not _value(found, "ray_skillfactory_output_tokens_total"):
                assert job.process.poll() is None, job.output()
                assert time.monotonic() < deadline, (wanted - found.keys(), job.output())
                time.sleep(1)
                found = scrape(head)
            job.process.send_signal(signal.SIGTERM)
            assert job.wait(60) == 75, job.output()
            assert job.left_behind() == {}
        finally:
            job.clean()
        for name in wanted:
            for labels, _ in found[name]:
                assert 'run="run",' in f"{labels}," or name.startswith("ray_vllm_"), labels
                assert 'engine="0"' in labels
        assert _value(found, "ray_skillfactory_requests_running") > 0
        assert _value(found, "ray_skillfactory_engine_restarts") == 0
        # One counts requests that are over, the other tokens.
        assert _value(found, "ray_vllm_generation_tokens_total") > 0


def _value(found: dict[str, list[tuple[str, float]]], name: str) -> float:
    return sum(value for _, value in found.get(name, ()))
