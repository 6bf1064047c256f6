"""Owns topics (section 7): which one a request names, and whether the request stands under it at a time."""

from second.documents import SignedDocument
from second.encoding import Refused
from second.messages import REQUEST
from second.rules import ZERO

# What has no room in a `Request` was never sent.
LARGEST_TOPIC = REQUEST.fields["topic"].most


def topic_of(raw, body, federation, where):
    """The document that a request names and brings along, or None where it does neither."""
    if body["topic_hash"] == ZERO:
        if raw:
            raise Refused(where, "a topic beside a request that names none")
        return None
    if not raw:
        raise Refused(where, "the topic that the request names is missing")
    if len(raw) > LARGEST_TOPIC:
        raise Refused(where, f"{len(raw)} bytes, at most {LARGEST_TOPIC} allowed")
    document = SignedDocument(raw, federation, where, "topic")
    if document.hash != body["topic_hash"]:
        document.refuse("not the topic that the request names")
    return document


def fault_between(topic, body, federation, at):
    """Why a topic, whoever signed it, does not cover a request at a time, or None if it does."""
    if topic["federation"] != federation:
        return "names another federation"
    for name, field in (("node_id", "requester"), ("audience", "audience")):
        if topic[name] != body[field]:
            return f"{name} {topic[name]} is not the {field} of the request"
    if body["purpose"] not in topic["purposes"]:
        return f"purpose {body['purpose']} is not on the topic"
    if not topic["valid_from"] <= at < topic["valid_to"]:
        return "the topic is outside its validity"
    return None


def need_topic(raw, body, trust, at, where):
    """Refuses a request that stands neither under no topic nor under one that is in force at a time."""
    document = topic_of(raw, body, trust.federation, where)
    if not document:
        return
    fault = fault_between(document.content, body, trust.federation, at)
    if fault:
        document.refuse(fault)
    owner = document.content["node_id"]
    keys = trust.keys.get(owner)
    if not keys:
        document.refuse(f"{owner} has no keys in force")
    document.need_threshold(keys["admin_keys"], keys["admin_threshold"], "administrators")
    # Section 7: what was ended after a request was in force for it.
    if trust.is_ended(owner, document.hash, at, at):
        document.refuse("the topic has been ended")
