"""Owns the rules of what is signed outside trust files: coverage (section 6), and all that section 7 signs.

Each function gives why a decoded value breaks a rule of its own structure, or None.
"""

from second.catalogue import FIRST_YEAR, LAST_YEAR

DAY_MS = 86_400_000
LONGEST_STANDING_MS = 400 * DAY_MS
FIRST_MONTH, LAST_MONTH = FIRST_YEAR * 12, LAST_YEAR * 12 + 11
LONGEST_TOPIC_MS = 400 * DAY_MS
ZERO = bytes(32)
# Section 7: what ends a line, shows nothing or turns text round; first and last code point.
NOT_IN_A_TITLE = (
    (0x0, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5),
    (0x180B, 0x180F), (0x200B, 0x200F), (0x2028, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xE0000, 0xE0FFF),
)


def coverage_fault(rows):
    for row in rows:
        if not FIRST_MONTH <= row["from"] <= row["to"] <= LAST_MONTH:
            return f"coverage from month {row['from']} to {row['to']}"
    return None


def edition_fault(content):
    return "editions start at 1" if content["number"] < 1 else coverage_fault(content["coverage"])


def withdrawal_fault(content):
    return "editions start at 1" if content["number"] < 1 else None


def body_fault(body):
    """Section 7: nobody waits for an approval of their own. The other rules are the provider's, or need a catalogue."""
    if body["audience"] == body["requester"] and body["wanted_until"]:
        return "a request to the requester itself that would wait"
    return None


def topic_fault(topic):
    """What a topic must hold, whoever signed it."""
    if topic["node_id"] == topic["audience"]:
        return "a topic of a member for itself"
    if not 3 <= len(topic["title"]) <= 200:
        return f"a title of {len(topic['title'])} characters"
    if any(first <= ord(character) <= last for character in topic["title"] for first, last in NOT_IN_A_TITLE):
        return "a title that is not one line of visible characters"
    # Python counts four separators of information as white space that Unicode does not: they are refused above.
    if topic["title"] != topic["title"].strip():
        return "a title with blanks around it"
    if not topic["purposes"]:
        return "a topic for no purpose"
    if topic["valid_from"] >= topic["valid_to"]:
        return "a topic that is valid for no time"
    if topic["valid_to"] - topic["valid_from"] > LONGEST_TOPIC_MS:
        return f"a topic for more than {LONGEST_TOPIC_MS // DAY_MS} days"
    return None


def refusal_fault(head):
    """What the head of a refusal must hold."""
    if head["code"] is None:
        return "a refusal without a code"
    if head["edition"]:
        return "a refusal that names an edition"
    if head["slice_len"]:
        return "a refusal with a slice"
    return None


def answer_fault(head):
    """What the head of an answer or of a refusal must hold."""
    if head["decision"] == "refused":
        return refusal_fault(head)
    return None if head["code"] is None else f"an answer with the code {head['code']}"


def view_fault(view):
    if view["provider"] == view["audience"]:
        return "a view of a member for itself"
    for edition in view["edition"]:
        if not view["tables"]:
            return "an edition where no table is shown"
        if edition["number"] < 1:
            return "editions start at 1"
    for table in view["tables"]:
        for row in table["rows"]:
            if len(row["ways"]) != len(view["ages"]):
                return f"{len(row['ways'])} ways at {len(view['ages'])} ages in a row of table {table['table_id']}"
    return coverage_fault(view["coverage"])


def status_fault(status):
    return "state_seq starts at 1" if status["state_seq"] < 1 else None


def approval_fault(approval):
    if approval["verdict"] == "reject":
        if approval["reason"] is None:
            return "a no without a reason"
        if approval["edition"] or (approval["slice_hash"], approval["policy_hash"]) != (ZERO, ZERO):
            return "a no that names a slice, an edition or a policy"
        return None
    if approval["reason"] is not None:
        return "a yes with a reason"
    if approval["edition"] < 1:
        return "a yes without an edition"
    if approval["policy_hash"] == ZERO:
        return "a yes without a policy"
    return None


def standing_fault(standing):
    if standing["from"] > standing["until"]:
        return "ends before it begins"
    if standing["until"] - standing["from"] > LONGEST_STANDING_MS:
        return f"lasts for more than {LONGEST_STANDING_MS // DAY_MS} days"
    return None


def collect_list_fault(listed):
    return "state_seq starts at 1" if any(one["state_seq"] < 1 for one in listed) else None


RULES = {
    "edition": edition_fault,
    "withdraw": withdrawal_fault,
    "request-body": body_fault,
    "topic": topic_fault,
    "answer": answer_fault,
    "view": view_fault,
    "status": status_fault,
    "approval": approval_fault,
    "standing": standing_fault,
    "collect-list": collect_list_fault,
}
