"""Formats: what people write passes, what reaches nobody does not."""

import pytest
from billing_tools.contact import bad_emails, is_phone
from hypothesis import given
from hypothesis import strategies as st

words = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=12)
ends = st.sampled_from(["com", "cn", "shop"])
addresses = st.builds(lambda name, host, end: f"{name}@{host}.{end}", words, words, ends)


@pytest.mark.parametrize(
    "text",
    ["a@b.co", "A.B+tag@sub.firm-x.example", "Ann Lee <ann@firm.example>", "a@b.cn, c@d.cn", "a@b.cn；c@d.cn"],
)
def test_addresses_that_pass(text):
    assert bad_emails(text) == []


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        ("bob@firm", ["bob@firm"]),
        ("bob.firm.com", ["bob.firm.com"]),
        ("bob@@firm.com", ["bob@@firm.com"]),
        ("bob@firm..com", ["bob@firm..com"]),
        ("bob@-firm.com", ["bob@-firm.com"]),
        ("bob @firm.com", ["bob @firm.com"]),
        ("bob@firm.c", ["bob@firm.c"]),
        ("a@b.com, none", ["none"]),
        ("Bob <bob@firm", ["Bob <bob@firm"]),
    ],
)
def test_addresses_that_reach_nobody(text, bad):
    assert bad_emails(text) == bad


@given(st.lists(addresses, max_size=4), st.sampled_from([",", "; ", "，"]))
def test_a_list_is_as_good_as_its_parts(found, mark):
    assert bad_emails(mark.join(found)) == []
    assert bad_emails(mark.join([*found, "nobody"])) == ["nobody"]


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("+1 206 555 0100", True),
        ("(021) 5555-0100 转 12", True),
        ("0049/30/123456", True),
        ("+49 30 123456 ext. 7", True),
        ("13800138000", True),
        ("1234", False),
        ("+1234567890123456", False),
        ("++1 206 555 0100", False),
        ("206-555-0100 (Ann)", False),
        ("n/a", False),
        ("a@b.com", False),
    ],
)
def test_telephone_numbers(text, good):
    assert is_phone(text) is good


@given(st.text(max_size=30))
def test_any_text_has_an_answer(text):
    assert is_phone(text) in (True, False)
    assert isinstance(bad_emails(text), list)
