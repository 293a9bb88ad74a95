"""From a descriptor to a ticker: the matcher, a batch of 100, the whole queue, and a slow model.

`ours` is descriptors per second through `propose_descriptor` in one process, normalising included; `peer` is the simple
version: rapidfuzz's `extractOne` of the same normalised text against the names of all listed companies. The queue is
measured with `propose_merchants` and the matcher, from unknown merchants to proposals, log and decisions in
PostgreSQL. The model is a local server with the OpenAI protocol that takes two seconds per call.
"""

import argparse
import csv
import json
import random
import statistics
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product

from benchmarks import common

_MODEL_SECONDS = 2.0


def _descriptors(count: int) -> list[str]:
    """Return bank descriptors: labelled ones with other store numbers, and as many of unknown shops."""
    with (common.ROOT / "llm_center" / "data" / "descriptors_tune.csv").open(encoding="utf-8", newline="") as file:
        seen = [row["descriptor"] for row in csv.DictReader(file)]
    chance = random.Random(3)
    words = ("MAPLE", "RIVER", "OAK", "SUNSET", "HARBOR", "PRAIRIE", "COPPER", "NORTHSIDE", "LAKEVIEW", "GOLDEN")
    trades = (
        "DINER",
        "HARDWARE",
        "BARBER",
        "VET CLINIC",
        "BOOKS",
        "DENTAL",
        "AUTO BODY",
        "FLORIST",
        "CAR WASH",
        "TAVERN",
    )
    made = []
    for n in range(count):
        if n % 2:
            made.append(
                f"{chance.choice(words)} {chance.choice(trades)} {chance.randrange(10**4):04d} "
                f"{chance.choice(words)} TX"
            )
        else:
            made.append(f"{chance.choice(seen)} {chance.randrange(10**5):05d}")
    return made


def _matcher_rate(descriptors: list[str]) -> tuple[float, float]:
    """Return (descriptors per second, median milliseconds of a batch of 100)."""
    from llm_center.matcher import propose_descriptor
    from transactions.rules.merchant_key import normalise

    propose_descriptor("WARM UP")
    normalise.cache_clear()
    batches, started = [], time.perf_counter()
    for start in range(0, len(descriptors), 100):
        begun = time.perf_counter()
        for descriptor in descriptors[start : start + 100]:
            propose_descriptor(descriptor)
        batches.append((time.perf_counter() - begun) * 1000)
    return len(descriptors) / (time.perf_counter() - started), statistics.median(batches)


def _peer_rate(descriptors: list[str]) -> float:
    from rapidfuzz import fuzz, process

    from llm_center.catalogue import load_companies
    from transactions.rules.merchant_key import normalise_uncached

    names = [company.name.upper() for company in load_companies().values()]
    started = time.perf_counter()
    for descriptor in descriptors:
        process.extractOne(normalise_uncached(descriptor), names, scorer=fuzz.WRatio, score_cutoff=85)
    return len(descriptors) / (time.perf_counter() - started)


def _queue_rate(descriptors: list[str]) -> float:
    from llm_center.services.proposal_queue import propose_merchants
    from transactions.models import Merchant
    from transactions.rules.merchant_key import normalise

    # A queue has no duplicate merchants: generated names beside the known ones.
    syllables = (
        "BAR",
        "CEN",
        "DOL",
        "FIN",
        "GAR",
        "HEL",
        "JON",
        "KEL",
        "LAM",
        "MOR",
        "NAV",
        "PEL",
        "QUIN",
        "ROS",
        "SAL",
        "TOR",
    )
    shops = [
        f"{a}{b.lower()}{c.lower()} {t}".upper()
        for a, b, c in product(syllables, repeat=3)
        for t in ("DINER", "HARDWARE", "FLORIST")
    ]
    keys = {normalise(descriptor): descriptor for descriptor in [*descriptors, *shops]}
    Merchant.objects.all().delete()
    Merchant.objects.bulk_create(
        [Merchant(merchant_key=key, display_name=text, waiting_count=1) for key, text in keys.items() if key],
        batch_size=2000,
    )
    started = time.perf_counter()
    done = propose_merchants()
    seconds = time.perf_counter() - started
    print(f"queue: {done.processed:,} merchants, {done.decided:,} decided in {seconds:.1f} s", flush=True)
    return done.processed / seconds


class _SlowModel(BaseHTTPRequestHandler):
    """A slow model that knows no company."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Respond in the chat-completions protocol."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        merchants = json.loads(asked["messages"][1]["content"])["untrusted_merchants"]
        answer = [
            {
                "id": one["id"],
                "owner": "not_listed",
                "ticker": None,
                "company": "",
                "confidence": 0.5,
                "reason": "unknown",
                "alternatives": [],
            }
            for one in merchants
        ]
        time.sleep(_MODEL_SECONDS)
        reply = {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": "slow",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": json.dumps({"merchants": answer})},
                }
            ],
            "usage": {"prompt_tokens": 900, "completion_tokens": 300, "total_tokens": 1200},
        }
        body = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def _model_seconds() -> float:
    """Return the seconds for 100 merchants with the default settings."""
    from django.test import override_settings

    from llm_center.providers import MerchantQuestion, get_provider

    server = ThreadingHTTPServer(("127.0.0.1", 0), _SlowModel)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    questions = [MerchantQuestion(f"UNKNOWN SHOP {n}", (f"UNKNOWN SHOP {n}",), "") for n in range(100)]
    with override_settings(LLM_BASE_URL=f"http://127.0.0.1:{server.server_port}/v1", LLM_API_KEY="k", LLM_MODEL="slow"):
        started = time.perf_counter()
        answers = get_provider("openai").propose_batch(questions).answers
        seconds = time.perf_counter() - started
    server.shutdown()
    if len(answers) != len(questions):
        raise SystemExit("not every merchant was answered")
    return seconds


def main() -> None:
    """Run the benchmark and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--peer-rows", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    common.fresh_database("kamioi_bench_mapping")
    from django.core.management import call_command

    call_command("import_companies", verbosity=0)
    call_command("import_brands", verbosity=0)
    descriptors = _descriptors(arguments.rows)
    ours, batches, peers, queues = [], [], [], []
    for number in range(arguments.rounds):
        rate, batch = _matcher_rate(descriptors)
        ours.append(rate)
        batches.append(batch)
        peers.append(_peer_rate(descriptors[: arguments.peer_rows]))
        queues.append(_queue_rate(descriptors))
        print(
            f"round {number + 1}: {ours[-1]:,.0f} descriptors/s, 100 in {batch:.1f} ms, queue {queues[-1]:,.0f}/s, "
            f"company names {peers[-1]:,.0f}/s",
            flush=True,
        )
    model = _model_seconds()
    common.drop_database("kamioi_bench_mapping")
    ratio = statistics.median(o / p for o, p in zip(ours, peers, strict=True))
    common.report(
        benchmark="mapping",
        ours=round(statistics.median(ours)),
        peer=round(statistics.median(peers)),
        ratio=round(ratio, 1),
        unit="descriptors/s",
        peer_name="rapidfuzz extractOne over company names",
        batch_of_100_ms=round(statistics.median(batches), 1),
        queue_per_second=round(statistics.median(queues)),
        goal_queue=5000,
        model_100_merchants_seconds=round(model, 1),
        goal_model_seconds=10,
        reached=statistics.median(queues) >= 5000 and model < 10,
    )


if __name__ == "__main__":
    main()
