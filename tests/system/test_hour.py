"""Store, issuer, ledger, responders and CRL say the same of every certificate, through kills and a rotation; and what compares them finds who does not."""
import sqlite3

import pytest

import hour
from follower import Follower
from house import wait_for
from liar import Liar, behind, remembered
from words import Words

pytestmark = pytest.mark.waits


def set_state(house, agent, state):
    with sqlite3.connect(house.path("state/store/writ.db"), timeout=10) as db:
        db.execute("UPDATE leaf SET state = ? WHERE serial = ?", (state, bytes.fromhex(agent.serial)))


def test_a_responder_that_does_not_learn_of_an_end_is_found_and_one_that_is_late_is_not(one):
    kept = {}
    keep = remembered(kept)
    with Liar(one, keep) as forgetful, Liar(one, behind(0.3)) as late:
        words = Words(one, [("forgetful", int(forgetful.rsplit(":", 1)[1])), ("late", int(late.rsplit(":", 1)[1]))])
        agent = one.agent_with_leaf("ended")
        words.look()
        words.look_at_lists()
        assert not words.disagreements and set(words.words.values()) >= {1}
        assert one.person().ask("POST", f"/v1/tasks/{agent.task}/complete").status == 200
        words.look()
        wait_for("the list", lambda: one.crl(agent).get_revoked_certificate_by_serial_number(int(agent.serial, 16)))
        words.lists_may_lag_until = 0
        words.seen[agent.serial] = ("revoked", words.seen[agent.serial][1] - 10)
        words.look_at_lists()
    assert words.disagreements.pop().startswith(f"CRL at forgetful: {agent.serial} is revoked in the store since 1"), words.disagreements
    assert len(words.disagreements) == 1 and words.disagreements[0].startswith(f"forgetful: good of {agent.serial}, which is revoked in the store, for 1."), words.disagreements
    assert {source.name: 0 < source.longest_s <= 1 for source in words.sources} == {"issuer": False, "ledger": False, "forgetful": False, "late": True}


def test_a_row_that_was_changed_by_hand_is_found_by_every_other_word(one):
    agent = one.agent_with_leaf("changed")
    words = Words(one)
    words.look()
    assert not words.disagreements
    set_state(one, agent, 2)
    words.look()
    words.lists_may_lag_until = 0
    words.seen[agent.serial] = ("revoked", words.seen[agent.serial][1] - 10)
    words.look_at_lists()
    set_state(one, agent, 1)
    assert sorted(fault.split(":")[0] for fault in words.disagreements) == ["CRL", "issuer", "ledger"], words.disagreements


def test_everything_agrees_while_the_issuer_and_the_signer_are_killed_and_keys_change(one):
    one.certify("responder-1")
    one.stop()
    one.shard_lists(10)
    one.start()
    follower = Follower(one, "responder-1")
    try:
        faults, outcome = hour.run(one, [follower.start()], 5, rate=4, asks=60, rest_s=1.5, list_s=4, at_least=3)  # a slow machine's lists
    finally:
        follower.close()
    assert not faults and outcome["disagreements"] == 0
    assert list(outcome["words"]) == ["issuer", "ledger", "responder-1", "CRL", "CRL at responder-1"] and outcome["lists"] > 1
    assert outcome["disturbances"] >= 3 and outcome["certificates"] >= 10 and min(outcome["words"].values()) >= 10, outcome
