"""A `tandem router` process."""

from __future__ import annotations

import re
import time

from openmetrics import Metrics
from raw_http import request
from tandem_process import START_TIMEOUT, Tandem

ROUTES = """
default_model: small
clear_route_cache: true
model_config:
  small: {}
  big: {access_key: sk-upstream, preferred_endpoints: [east], reasoning_family: qwen3}
reasoning_families:
  qwen3: {type: chat_template_kwargs, parameter: enable_thinking}
vllm_endpoints: [{name: east, address: 10.0.0.1, port: 8000, weight: 1}]
tandem: {unknown_models: reject}
decisions:
  - name: math_decision
    priority: 10
    rules: {operator: OR, conditions: [{type: domain, name: math}]}
    modelRefs: [{model: big, use_reasoning: true}]
    plugins:
      - type: system_prompt
        configuration: {system_prompt: Be exact.}
      - type: header_mutation
        configuration: {add: [{name: x-tier, value: gold}], delete: [x-secret]}
  - name: law_decision
    priority: 10
    rules: {operator: OR, conditions: [{type: keyword, name: lawsuit}]}
    modelRefs: [{model: small}]
    plugins:
      - type: pii
        configuration: {pii_types_denied: [US_SSN], scan_response: true, action: redact}
      - type: response_jailbreak
        configuration: {action: block}
  - name: timetable_decision
    priority: 10
    rules: {operator: OR, conditions: [{type: keyword, name: timetable}]}
    modelRefs: [{model: small}]
    plugins:
      - type: semantic-cache
        configuration: {enabled: true, scope: global}
keyword_rules:
  - {name: lawsuit, operator: OR, keywords: [lawsuit]}
  - {name: timetable, operator: OR, keywords: [timetable]}
"""
"""Two models, so that a request can be seen to change its way."""


class Router(Tandem):
    """Started on free ports, which it names when it is ready."""

    extproc = 0
    api = 0
    metrics_port = 0

    def wait_until_ready(self, timeout: float = START_TIMEOUT) -> Router:
        line = self.out.wait_for(r"^ready in", timeout=timeout)
        if line is None:
            self.stop()
            raise AssertionError(f"the router did not become ready\n{self.story()}")
        ports = dict(re.findall(r"(\w+) \w+://[^\s,]+:(\d+)", line))
        self.extproc, self.api, self.metrics_port = (
            int(ports[name]) for name in ("extproc", "api", "metrics")
        )
        return self

    def metrics(self, port: int | None = None) -> Metrics:
        response = request(port or self.metrics_port, "GET", "/metrics")
        assert response.status == 200, response
        return Metrics.parse(response.text)

    def count(self, name: str, **labels: str) -> float:
        return self.metrics().value(name, **labels)

    def wait_for_count(self, name: str, value: float, timeout: float = 10.0, **labels: str) -> None:
        """Waits until the metric has the value."""
        deadline = time.monotonic() + timeout
        while (now := self.count(name, **labels)) != value:
            assert time.monotonic() < deadline, f"{name}{labels} is {now}, not {value}"
            time.sleep(0.05)
