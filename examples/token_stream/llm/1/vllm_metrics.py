"""The metrics of Triton's vLLM backend, by the same names, labels and buckets."""

import itertools
import queue
import threading
import time

import triton_python_backend_utils as pb_utils

INTERVAL_SECONDS = 0.05
TOKENS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
COUNTERS = {
    "vllm:prompt_tokens_total": "Number of prefill tokens processed.",
    "vllm:generation_tokens_total": "Number of generation tokens processed.",
}
HISTOGRAMS = {
    "vllm:time_to_first_token_seconds": (
        "Histogram of time to first token in seconds.",
        (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    ),
    "vllm:time_per_output_token_seconds": (
        "Histogram of time per output token in seconds.",
        (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
    ),
    "vllm:e2e_request_latency_seconds": (
        "Histogram of end to end request latency in seconds.",
        (1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    ),
    "vllm:request_prompt_tokens": ("Number of prefill tokens processed.", TOKENS),
    "vllm:request_generation_tokens": ("Number of generation tokens processed.", TOKENS),
    "vllm:request_params_n": ("Histogram of the n request parameter.", (1, 2, 5, 10, 20)),
}


class Metrics:
    """Reports from a thread of its own, while the tokens leave, so that their clock waits for no metric."""

    def __init__(self, labels):
        family = pb_utils.MetricFamily
        # A metric lives as long as its family does.
        self._families = [family(name, text, family.COUNTER) for name, text in COUNTERS.items()]
        self._metrics = {
            name: metrics.Metric(labels=labels) for name, metrics in zip(COUNTERS, self._families, strict=True)
        }
        for name, (text, buckets) in HISTOGRAMS.items():
            self._families.append(family(name, text, family.HISTOGRAM))
            self._metrics[name] = self._families[-1].Metric(labels=labels, buckets=list(buckets))
        self._events = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._report)
        self._thread.start()

    def begin(self, stream):
        """Count what the stream sends from now on."""
        self._events.put((stream, False))

    def end(self, stream):
        """Count the rest of what it sent; one that was cancelled or failed has no latency, as in vLLM."""
        self._events.put((stream, True))

    def close(self):
        self._events.put(None)
        self._thread.join()

    def _report(self):
        counted, due = {}, 0.0
        while True:
            try:
                event = self._events.get(timeout=max(0.001, due - time.monotonic()) if counted else None)
            except queue.Empty:
                due = time.monotonic() + INTERVAL_SECONDS
                counted = {stream: self._count(stream, before) for stream, before in counted.items()}
                continue
            if event is None:
                return
            stream, has_ended = event
            counted[stream] = self._count(stream, counted.get(stream, 0))
            if has_ended:
                del counted[stream]
                self._count_request(stream)

    def _count(self, stream, counted):
        """Report the tokens after those that were counted; return how many are now."""
        sent = stream.sent[:]
        if len(sent) > counted:
            self._metrics["vllm:generation_tokens_total"].increment(len(sent) - counted)
        if sent and not counted:
            self._metrics["vllm:prompt_tokens_total"].increment(stream.input_tokens)
            self._observe("time_to_first_token_seconds", sent[0] - stream.received)
        for earlier, later in itertools.pairwise(sent[max(0, counted - 1) :]):
            self._observe("time_per_output_token_seconds", later - earlier)
        return len(sent)

    def _count_request(self, stream):
        if stream.outcome == "finished":
            self._observe("e2e_request_latency_seconds", stream.ended - stream.received)
            self._observe("request_prompt_tokens", stream.input_tokens)
            self._observe("request_generation_tokens", len(stream.sent))
            self._observe("request_params_n", 1)

    def _observe(self, name, value):
        self._metrics[f"vllm:{name}"].observe(value)
