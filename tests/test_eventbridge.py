"""The example for AWS EventBridge: its references, and the effect of its request."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.serving import TOKEN, LiveServer

TEMPLATE = Path(__file__).resolve().parent.parent / "deploy/eventbridge/coingraph.yaml"


class Template(yaml.SafeLoader):
    """CloudFormation's short forms: `!Ref x` is read as ("Ref", "x")."""


def _short_form(_: yaml.SafeLoader, suffix: str, node: yaml.Node) -> tuple[str, Any]:
    return suffix, node.value


yaml.add_multi_constructor("!", _short_form, Template)


@pytest.mark.slow
def test_eventbridge(scheduled_server: LiveServer) -> None:
    template = yaml.load(TEMPLATE.read_text(), Template)  # noqa: S506 - a SafeLoader
    parts, resources = template["Parameters"], template["Resources"]
    by_kind = {each["Type"].rpartition("::")[2]: each["Properties"] for each in resources.values()}
    for name, value in references(resources):
        target = value.partition(".")[0]
        assert target in resources or target in parts, f"{name} {value}"

    connection = by_kind["Connection"]
    assert connection["AuthorizationType"] == "API_KEY"
    key = connection["AuthParameters"]["ApiKeyAuthParameters"]
    form, value = key["ApiKeyValue"]
    assert form == "Sub"
    value = re.sub(r"\{\{resolve:secretsmanager:\$\{TokenSecret\}:SecretString\}\}", TOKEN, value)
    assert by_kind["ApiDestination"]["ConnectionArn"] == ("GetAtt", "Connection.Arn")
    (target,) = by_kind["Rule"]["Targets"]
    assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] <= 3600, "before the next one"
    transformer = target["InputTransformer"]
    assert transformer["InputPathsMap"] == {"time": "$.time"}

    def fire(at: str) -> Any:
        response = httpx.request(
            by_kind["ApiDestination"]["HttpMethod"],
            f"{scheduled_server.url}/graphql",
            content=transformer["InputTemplate"].replace("<time>", at),
            headers=target["HttpParameters"]["HeaderParameters"] | {key["ApiKeyName"]: value},
            timeout=120,
        )
        assert response.status_code == 200, response.text
        return response.json()["data"]["refreshPrices"]["run"]["id"]

    assert fire("2026-01-31T14:07:00Z") == fire("2026-01-31T14:07:00Z")
    assert "wait" not in transformer["InputTemplate"], "it has 5 seconds"


def references(node: Any) -> Iterator[tuple[str, str]]:
    """All short forms in a template."""
    if isinstance(node, tuple):
        form, value = node
        names = re.findall(r"\$\{(\w+)\}", value) if form == "Sub" else [value]
        yield from ((form, name) for name in names)
    elif isinstance(node, dict | list):
        for each in node.values() if isinstance(node, dict) else node:
            yield from references(each)
