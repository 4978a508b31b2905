"""deploy/api/v1.yaml held against the server: what it promises exists, what is answered is as it says, and there is nothing beside it."""
import base64
import datetime
import hashlib
import os
import re

import pytest
import yaml

from grants import AUDIENCE
from house import ERP, INVOICES, PAYMENTS, POLICY, ROOT, TD, Agent, House, csr_der, new_key
from oidc import jwk, jwks

with open(os.path.join(ROOT, "deploy", "api", "v1.yaml"), encoding="utf-8") as file:
    API = yaml.safe_load(file)

BOT = f"spiffe://{TD}/agent/invoice-bot"
READER = f"spiffe://{TD}/agent/pdf-reader"
SCOPE = [{"actions": ["invoices:read"], "resources": [INVOICES], "delegable": True}]


@pytest.fixture(scope="module")
def one():
    """With a rule that wants approvals, and an OpenID provider, for whose tokens grants are prepared."""
    made = House("swtpm", policy=POLICY + PAYMENTS, extra=f"grants: {{audience: {AUDIENCE}}}\n"
                 "oidc: [{alias: idp, issuer: \"https://idp.corp.example\", client_id: writ, jwks: idp.json}]\n")
    with open(made.path("idp.json"), "wb") as f:
        f.write(jwks(jwk(new_key(), "e1")))
    try:
        made.init()
        made.start()
        yield made
    finally:
        made.close()


# ---- a validator of the part of JSON Schema that v1.yaml uses ----

def resolve(node):
    while "$ref" in node:
        found = API
        for name in node["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        node = found
    return node


def kind_ok(kind, value):
    return {"object": isinstance(value, dict), "array": isinstance(value, list), "string": isinstance(value, str), "boolean": isinstance(value, bool),
            "integer": isinstance(value, int) and not isinstance(value, bool)}[kind]


def faults(schema, value, at="$"):
    """Where `value` is not as the schema says: a list of sentences."""
    schema = resolve(schema)
    if "oneOf" in schema:
        each = [faults(one, value, at) for one in schema["oneOf"]]
        return [] if sum(not found for found in each) == 1 else [f"{at} is not exactly one of {len(each)}", *sum(each, [])]
    unknown = set(schema) - {"type", "description", "required", "properties", "additionalProperties", "minProperties", "maxProperties", "items", "minItems",
                             "maxItems", "pattern", "maxLength", "minimum", "maximum", "enum", "format", "default"}
    assert not unknown, f"this validator does not know {unknown}"
    if not kind_ok(schema["type"], value):
        return [f"{at}: {value!r} is no {schema['type']}"]
    found = []
    if isinstance(value, dict):
        known = schema.get("properties", {})
        found += [f"{at}.{name} is missing" for name in schema.get("required", []) if name not in value]
        if schema.get("additionalProperties") is False:
            found += [f"{at}.{name} is not in the schema" for name in value if name not in known]
        if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", 1000):
            found.append(f"{at} has {len(value)} members")
        for name in value:
            if name in known:
                found += faults(known[name], value[name], f"{at}.{name}")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10 ** 6):
            found.append(f"{at} has {len(value)} items")
        for i, item in enumerate(value):
            found += faults(schema["items"], item, f"{at}[{i}]")
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            found.append(f"{at}: {value!r} is not {schema['pattern']}")
        if len(value) > schema.get("maxLength", 10 ** 6):
            found.append(f"{at} has {len(value)} characters")
        if schema.get("format") == "date-time" and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value):
            found.append(f"{at}: {value!r} is no date-time")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: {value!r} is none of {schema['enum']}")
    if schema["type"] == "integer" and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        found.append(f"{at}: {value} is out of range")
    return found


def closed(schema):
    """The same schema, but with no member beside those it names: answers say what the file says and no more."""
    schema = dict(resolve(schema))
    if "properties" in schema:
        schema["additionalProperties"] = False
        schema["properties"] = {name: closed(inner) for name, inner in schema["properties"].items()}
    if "items" in schema:
        schema["items"] = closed(schema["items"])
    return schema


@pytest.mark.parametrize("schema,value,fault", [
    ({"type": "integer", "minimum": 1}, 0, "$: 0 is out of range"), ({"type": "integer"}, True, "$: True is no integer"),
    ({"type": "object", "required": ["a"]}, {}, "$.a is missing"), ({"type": "string", "format": "date-time"}, "today", "$: 'today' is no date-time"),
    ({"type": "object", "additionalProperties": False, "properties": {}}, {"b": 1}, "$.b is not in the schema"),
    ({"type": "array", "items": {"type": "string", "pattern": "^a$"}}, ["a", "b"], "$[1]: 'b' is not ^a$"),
    ({"type": "string", "enum": ["x"]}, "y", "$: 'y' is none of ['x']"), ({"type": "array", "maxItems": 1, "items": {"type": "string"}}, ["a", "b"], "$ has 2 items")])
def test_the_validator_finds_faults(schema, value, fault):
    assert faults(schema, value) == [fault]


# ---- a session, every answer of which is held against the file ----

def shape_of(path):
    """The path of the file that this one is an instance of."""
    path = path.split("?")[0]
    for shape in API["paths"]:
        if re.fullmatch(re.sub(r"\{[a-z]+\}", "[^/]+", re.escape(shape).replace(r"\{", "{").replace(r"\}", "}")), path):
            return shape
    return None


class Session:
    def __init__(self, house):
        self.house, self.seen, self.statuses = house, set(), {}

    def ask(self, client, method, path, body=None, headers=None):
        answer = client.ask(method, path, body, headers)
        shape = shape_of(path)
        operation = API["paths"][shape][method.lower()]
        responses = operation["responses"]
        response = resolve(responses.get(str(answer.status), responses["default"]))
        content_type, = response["content"]
        assert answer.headers["Content-Type"].removesuffix("; charset=utf-8") == content_type, answer
        assert not (answer.status < 400 and str(answer.status) not in responses), answer
        bytes_only = content_type in ("application/octet-stream", "text/plain")
        found = [] if bytes_only else faults(closed(response["content"][content_type]["schema"]), answer.json)
        assert not found, (method, path, found, answer)
        if answer.status >= 400:
            assert answer.json["status"] == answer.status and answer.json["detail"], answer
            assert ("Retry-After" in answer.headers) == (answer.status in (429, 503)), answer
        if body is not None and not isinstance(body, (bytes, str)) and answer.status < 400:
            schema = resolve(operation["requestBody"])["content"]["application/json"]["schema"]
            assert not faults(schema, body), (path, faults(schema, body))
        self.seen.add((method.lower(), shape))
        self.statuses.setdefault((method.lower(), shape), set()).add(answer.status)
        return answer


@pytest.fixture(scope="module")
def session(one):
    """Everything once as it should be, and much as it should not."""
    s = Session(one)
    alice, olga, ada, nobody = one.person(), one.person("olga"), one.person("ada"), one.nobody()
    bot, reader = Agent(one, "api-bot"), Agent(one, "api-reader")
    task = {"id": "api.task-1", "purpose": "May's invoices, \u00e4nderung", "agent": {"class": BOT, "spki_sha256": bot.spki_sha256}, "scope": SCOPE, "audience": [ERP],
            "constraints": [{"sourceNet": ["127.0.0.0/8"]}, {"paramMax": {"name": "limit", "max": 100}}, {"paramIn": {"name": "q", "values": ["a", "b"]}}],
            "depth": 1, "ends_in_s": 3600, "context": {"type": "prompt", "digest": hashlib.sha256(b"x").hexdigest()}}
    opened = s.ask(alice, "POST", "/v1/tasks", task, {"Idempotency-Key": "api-1"})
    assert opened.status == 201, opened
    assert s.ask(alice, "POST", "/v1/tasks", task, {"Idempotency-Key": "api-1"}).json == opened.json
    s.ask(alice, "POST", "/v1/tasks", dict(task, depth=0), {"Idempotency-Key": "api-1"})
    s.ask(alice, "POST", "/v1/tasks", task)
    s.ask(alice, "POST", "/v1/tasks", dict(task, depth=9))
    s.ask(alice, "POST", "/v1/tasks", dict(task, id="api.task-2", scope=[{"actions": ["payments:write"], "resources": [INVOICES]}]))
    s.ask(nobody, "POST", "/v1/tasks", task)
    s.ask(nobody, "POST", "/v1/tasks", {"grant": "eyJhbGciOiJFUzI1NiJ9.e30.AAAA"})
    prepared = s.ask(nobody, "POST", "/v1/grants/prepare", {"idp": "idp", "task": dict(task, id="api.task-3")})
    assert prepared.status == 200, prepared
    s.ask(nobody, "POST", "/v1/grants/prepare", {"idp": "other", "task": task})
    s.ask(nobody, "POST", "/v1/grants/prepare", {"idp": "idp", "task": dict(task, depth=9)})
    s.ask(nobody, "POST", "/v1/tasks", {"id_token": "eyJhbGciOiJFUzI1NiJ9.e30.AAAA", "grant_body": prepared.json["grant_body"]})
    leaf = {"csr": base64.b64encode(csr_der(bot.key)).decode(), "lifetime_s": 300, "ocsp": True}
    issued = s.ask(nobody, "POST", "/v1/tasks/api.task-1/leaves", leaf)
    assert issued.status == 201, issued
    s.issued, s.bot = issued.json, bot.take(issued.json)
    s.ask(nobody, "POST", "/v1/tasks/api.task-1/leaves?lifetime_s=60", csr_der(bot.key), {"Content-Type": "application/pkcs10"})
    s.ask(nobody, "POST", "/v1/tasks/api.task-1/leaves", dict(leaf, lifetime_s=1))
    s.ask(nobody, "POST", "/v1/tasks/api.task-9/leaves", leaf)
    s.ask(nobody, "POST", "/v1/batch", {"leaves": [dict(leaf, task="api.task-1"), dict(leaf, task="api.task-9")]})
    s.ask(nobody, "POST", "/v1/batch", {"leaves": []})
    s.ask(nobody, "POST", "/v1/tasks/api.task-1/leaves", "<xml/>", {"Content-Type": "text/xml"})
    agent = bot.client()
    narrower = {"agent": {"class": READER, "spki_sha256": reader.spki_sha256}, "audience": [ERP], "depth": 0, "ends_in_s": 600,
                "scope": [{"actions": ["invoices:read"], "resources": [ERP + "/v2/invoices/2026/*"]}]}
    delegated = s.ask(agent, "POST", "/v1/delegations", narrower)
    assert delegated.status == 201, delegated
    s.ask(agent, "POST", "/v1/delegations", narrower)
    s.ask(agent, "POST", "/v1/delegations", dict(narrower, audience=["https://other.example"]))
    s.ask(alice, "POST", "/v1/delegations", narrower)
    s.child = s.ask(nobody, "POST", "/v1/tasks/api.task-1/leaves", {"csr": base64.b64encode(csr_der(reader.key)).decode()}).json
    s.renewed = s.ask(agent, "POST", "/v1/renew", {"lifetime_s": 120, "ocsp": True}).json
    s.ask(agent, "POST", "/v1/renew")
    s.ask(agent, "POST", "/v1/renew", {"lifetime_s": 10 ** 6})
    s.ask(alice, "POST", "/v1/renew")
    for who in (alice, olga, agent, nobody, one.person("bob")):
        s.ask(who, "GET", "/v1/tasks/api.task-1")
    s.ask(alice, "GET", "/v1/tasks/api.none")
    s.ask(agent, "POST", "/v1/revocations", {"edge": s.issued["edge"]})
    s.ask(olga, "POST", "/v1/revocations", {"serial": s.child["serial"], "reason": "superseded"}, {"Idempotency-Key": "api-2"})
    s.ask(olga, "POST", "/v1/revocations", {"principal": delegated.json["agent"]})
    s.ask(olga, "POST", "/v1/revocations", {"task": "api.none"})
    carol = f"spiffe://{TD}/human/corp/carol"
    s.ask(olga, "POST", "/v1/revocations", {"principal": carol, "freeze": True})
    s.ask(olga, "POST", "/v1/revocations", {"principal": f"spiffe://{TD}/agent/unknown-bot", "freeze": True})
    s.freezes = s.ask(ada, "GET", "/v1/freezes").json["freezes"]
    s.ask(alice, "GET", "/v1/freezes")
    s.ask(alice, "POST", "/v1/freezes/lift", {"principal": carol})
    s.ask(olga, "POST", "/v1/freezes/lift", {"principal": carol, "all": True})
    s.ask(olga, "POST", "/v1/freezes/lift", {"all": True})
    s.thawed = s.ask(olga, "POST", "/v1/freezes/lift", {"principal": carol}, {"Idempotency-Key": "api-4"})
    s.ask(olga, "POST", "/v1/freezes/lift", {"principal": f"spiffe://{TD}/agent/unknown-bot"})
    s.ask(olga, "POST", "/v1/revocations", {"serial": "00" * 16, "reason": "certificateHold"})
    payer = Agent(one, "api-payer")
    pay = {"id": "api.pay-1", "purpose": "Pay \u00e4", "agent": {"class": f"spiffe://{TD}/agent/payer", "spki_sha256": payer.spki_sha256}, "audience": [ERP], "depth": 0,
           "scope": [{"actions": ["payments:create"], "resources": [ERP + "/v2/payments"]}]}
    waits = s.ask(alice, "POST", "/v1/tasks", pay, {"Idempotency-Key": "api-4"})
    assert waits.status == 202, waits
    assert s.ask(alice, "POST", "/v1/tasks", pay, {"Idempotency-Key": "api-4"}).body == waits.body
    s.ask(alice, "POST", "/v1/tasks", dict(pay, id="api.pay-2"))
    for who in (alice, olga, ada, agent):
        s.ask(who, "GET", "/v1/tasks?state=pending")
        s.ask(who, "GET", "/v1/tasks?state=open")
        s.ask(who, "GET", "/v1/tasks/api.pay-1")
    s.ask(alice, "GET", "/v1/tasks")
    s.ask(nobody, "GET", "/v1/tasks?state=open")
    approval = {"decision": "approve", "digest": waits.json["digest"]}
    s.ask(nobody, "POST", "/v1/tasks/api.pay-1/approvals", approval)
    s.ask(alice, "POST", "/v1/tasks/api.pay-1/approvals", approval)
    s.ask(agent, "POST", "/v1/tasks/api.pay-1/approvals", approval)
    s.ask(olga, "POST", "/v1/tasks/api.pay-1/approvals", dict(approval, decision="perhaps"))
    s.ask(olga, "POST", "/v1/tasks/api.pay-1/approvals", dict(approval, digest="00" * 32))
    s.ask(olga, "POST", "/v1/tasks/api.pay-9/approvals", approval)
    s.ask(olga, "POST", "/v1/tasks/api.pay-1/approvals", approval, {"Idempotency-Key": "api-5"})
    assert s.ask(ada, "POST", "/v1/tasks/api.pay-1/approvals", approval).json["state"] == "open"
    s.ask(one.person("bob"), "POST", "/v1/tasks/api.pay-1/approvals", approval)
    s.ask(alice, "GET", "/v1/tasks/api.pay-1")
    other = s.ask(alice, "GET", "/v1/tasks/api.pay-2").json["approvals"]["digest"]
    s.ask(ada, "POST", "/v1/tasks/api.pay-2/approvals", {"decision": "refuse", "digest": other, "because": "paid already"})
    s.ask(alice, "GET", "/v1/tasks/api.pay-2")
    s.task_open = s.ask(alice, "GET", "/v1/tasks/api.task-1").json
    s.ask(one.person("bob"), "POST", "/v1/tasks/api.task-1/complete")
    s.completed = s.ask(alice, "POST", "/v1/tasks/api.task-1/complete", None, {"Idempotency-Key": "api-3"})
    s.ask(agent, "POST", "/v1/renew")
    s.task_ended = s.ask(alice, "GET", "/v1/tasks/api.task-1").json
    s.entries = s.ask(ada, "GET", "/v1/log/entries?from=0&count=100").json
    s.ask(ada, "GET", "/v1/log/entries?count=101")
    s.ask(ada, "GET", "/v1/log/entries")
    s.ask(alice, "GET", "/v1/log/entries")
    s.policy = s.ask(ada, "GET", "/v1/policy").json
    s.ask(alice, "GET", "/v1/policy")
    s.reloaded = s.ask(olga, "POST", "/v1/policy/reload").json
    s.ask(ada, "POST", "/v1/policy/reload")
    s.ask(olga, "POST", "/v1/policy/reload", {})
    one.certify("responder-1")
    follower, nobodys = one.person("responder-1"), "epoch=" + "00" * 16
    s.ask(ada, "GET", "/v1/status/documents")
    s.ask(follower, "GET", "/v1/status/documents")
    for path in ("/v1/status/changes?" + nobodys + "&from=0", "/v1/status/table?" + nobodys + "&at=0"):
        s.ask(follower, "GET", path)
        s.ask(follower, "GET", path + "&x=1")
        s.ask(olga, "GET", path)
    for path in ("/v1/bundle", "/v1/bundle/spiffe"):
        s.ask(nobody, "GET", path)
        s.ask(nobody, "GET", path + "?format=pem")
    return s


def test_every_operation_of_the_file_was_asked_and_succeeded(session):
    promised = {(method, path) for path, methods in API["paths"].items() for method in methods}
    assert session.seen == promised
    for operation in promised:
        succeeds = {int(s) for s in API["paths"][operation[1]][operation[0]]["responses"] if s != "default"}
        assert succeeds <= session.statuses[operation], (operation, session.statuses[operation])
        assert session.statuses[operation] & {400, 401, 403, 404, 409, 415}, operation


def test_an_issued_answer_says_what_the_certificate_says(session):
    for issued in (session.issued, session.renewed, session.child):
        from cryptography import x509
        cert = x509.load_pem_x509_certificate(issued["certificate"].encode())
        time = lambda name: datetime.datetime.strptime(issued[name], "%Y-%m-%dT%H:%M:%SZ")  # noqa: B023,E731
        assert (cert.not_valid_before, cert.not_valid_after) == (time("not_before"), time("not_after"))
        assert cert.serial_number == int(issued["serial"], 16)
        assert time("not_before") < time("renew_at") < time("not_after")
        assert len(issued["log"]["id"]) == 16


def test_a_first_ocsp_response_comes_when_it_was_asked_for(session, one):
    from cryptography.x509 import ocsp
    for issued in (session.issued, session.renewed):
        response = ocsp.load_der_ocsp_response(base64.b64decode(issued["ocsp"]))
        assert response.certificate_status == ocsp.OCSPCertStatus.GOOD and response.serial_number == int(issued["serial"], 16)
    assert "ocsp" not in session.child


def test_a_task_lists_its_edges_from_the_root(session):
    edges = session.task_open["edges"]
    assert session.task_open["state"] == "open" and "ended" not in session.task_open
    assert [e["state"] for e in edges] == ["live", "revoked"] and "parent" not in edges[0] and edges[1]["parent"] == edges[0]["id"]
    assert edges[0]["id"] == session.issued["edge"]
    assert session.task_ended["state"] == "complete" and session.task_ended["ended"]
    assert session.completed.json["logged"] is True and session.completed.json["edges"] == 1


def test_freezes_are_listed_with_who_asked_and_when(session):
    olga = f"spiffe://{TD}/human/corp/olga"
    assert [(f["what"], f["principal"], f["by"]) for f in session.freezes] == [
        ("class", f"spiffe://{TD}/agent/unknown-bot", olga), ("principal", f"spiffe://{TD}/human/corp/carol", olga)]
    assert session.thawed.json == {"logged": True}


def test_the_log_is_read_in_order_and_on_from_where_it_ended(session, one):
    entries = session.entries
    assert [e["index"] for e in entries["entries"]] == list(range(entries["from"], entries["next"]))
    more = one.person("ada").ask("GET", f"/v1/log/entries?from={entries['next'] - 1}&count=1").json
    assert more["entries"] == entries["entries"][-1:]
    beyond = one.person("ada").ask("GET", "/v1/log/entries?from=1000000&count=1").json
    assert beyond["entries"] == [] and beyond["next"] == 1000000


def test_what_the_file_does_not_name_answers_404_or_405(one):
    client = one.person("olga")
    for path in API["paths"]:
        concrete = path.replace("{id}", "any")
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            if method.lower() in API["paths"][path]:
                continue
            answer = client.ask(method, concrete)
            assert answer.status == 405 and answer.headers["Allow"] == ", ".join(m.upper() for m in API["paths"][path]), (method, path, answer)
        for longer in (concrete + "/", concrete + "/x/y", "/x" + concrete):
            assert client.ask("GET", longer).status == 404, longer


def test_a_default_of_the_file_is_a_default_of_the_server(one):
    alice = one.person()
    agent = Agent(one, "defaults")
    task = alice.ask("POST", "/v1/tasks", {"agent": {"class": BOT, "spki_sha256": agent.spki_sha256}, "audience": [ERP],
                                           "scope": [{"actions": ["invoices:read"], "resources": [INVOICES]}]}).json
    assert re.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", task["task"])
    assert task["depth"] == API["components"]["schemas"]["OpenTask"]["properties"]["depth"]["default"]
    shown = alice.ask("GET", "/v1/tasks/" + task["task"]).json
    time = lambda text: datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")  # noqa: E731
    assert (time(shown["ends"]) - time(shown["created"])).total_seconds() == API["components"]["schemas"]["OpenTask"]["properties"]["ends_in_s"]["default"]
