"""Expressions of the settings: refused when they can never work, and bounded and harmless when they are worked out."""

import json
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import jmespath
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from relay.domain.expressions import MAX_CHARACTERS, MAX_DEPTH, MAX_LENGTH, MAX_NODES, Unfit, compiled
from tests.examples import example

KIM = {
    "source": "shop",
    "identities": {"crm": ["c-1", "c-2"], "email": ["kim@example.com"]},
    "attributes": {
        "email": "kim@example.com",
        "firstName": "Kim",
        "lastName": "Lee",
        "score": 1001.0,
        "orders": [{"at": "2026-01-02", "sku": "b", "amount": 2}, {"at": "2026-01-01", "sku": "a", "amount": "2"}],
        "address": {"city": "Ulm", "street": None, "floor": 3.0},
        "tags": ["x", None, "y"],
    },
}


def value(text: str, view: Any = KIM) -> Any:
    return compiled(text).value(view)


def test_an_ordinary_expression() -> None:
    table: list[tuple[str, Any]] = [
        ("attributes.email", "kim@example.com"),
        ("attributes.address.city", "Ulm"),
        ("identities.crm", ["c-1", "c-2"]),
        ("identities.crm[0]", "c-1"),
        ("identities.crm[-1]", "c-2"),
        ("identities.crm[2]", None),
        ("identities.crm.x", None),
        ("attributes.email[0]", None),
        ("attributes.nobody.at.all", None),
        ('attributes."firstName"', "Kim"),
        ("identities.phone[0] || attributes.email", "kim@example.com"),
        ("join(' ', [attributes.firstName, attributes.lastName])", "Kim Lee"),
        ("sort_by(attributes.orders, &at)[-1].sku", "b"),
        ("attributes.orders[?sku == 'a'].at | [0]", "2026-01-01"),
        ("length(attributes.orders)", 2),
    ]
    for text, result in table:
        with example(text, result):
            assert value(text) == result


def test_what_can_never_work_is_refused_with_the_reason() -> None:
    table: list[tuple[str, str]] = [
        ("", "is not a JMESPath expression"),
        (" ", "is not a JMESPath expression, near character 2"),
        ("attributes.", "is not a JMESPath expression, near character 12"),
        ("a b", "is not a JMESPath expression, near character 3"),
        ("[?", "is not a JMESPath expression"),
        ("`", "is not a JMESPath expression"),
        ("'abc", "is not a JMESPath expression"),
        ("lower(attributes.email)", "unknown function lower(); the nearest known one is floor()"),
        ("attributes.email | to_text(@)", "unknown function to_text(); the nearest known one is"),
        (
            "attributes.a[?starts_wiht(b, 'x')]",
            "unknown function starts_wiht(); the nearest known one is starts_with()",
        ),
        ("{a: lenght(b)}", "unknown function lenght(); the nearest known one is length()"),
        ("map(&uper(@), attributes.a)", "unknown function uper()"),
        ("not_null(attributes.a, [joni(',', b)])", "unknown function joni(); the nearest known one is join()"),
        ("join(attributes.a)", "join() takes 2 arguments, and has 1"),
        ("attributes.a.length()", "length() takes 1 argument, and has 0"),
        ("attributes.a[].abs(@, @)", "abs() takes 1 argument, and has 2"),
        ("map(&max(@, @), attributes.a)", "max() takes 1 argument, and has 2"),
        ("not_null()", "not_null() takes at least 1 argument, and has 0"),
        ("join(',', `1`)", "join() can only fail: its argument 2 must be a list of texts"),
        ("sum('a')", "sum() can only fail: its argument 1 must be a list of numbers"),
        ("join(' ', [attributes.a, `1`])", "join() can only fail: its argument 2 must be a list of texts"),
        ("sum([attributes.a, 'x'])", "sum() can only fail"),
        ("sort([`1`, attributes.a, 'x'])", "sort() can only fail"),
        ("length(attributes.a == 'x')", "length() can only fail: its argument 1 must be a text or a list or an object"),
        ("join(',', to_string(attributes.a))", "join() can only fail"),
        ("starts_with(attributes.a, length(attributes.b))", "starts_with() can only fail"),
        ("merge(attributes.a, attributes.b, `1`)", "merge() can only fail: its argument 3 must be an object"),
        (
            "sort_by(attributes.a, 'at')",
            "its argument 2 must be an expression with & in front",
        ),
        ("to_string(&a)", "to_string() can only fail"),
        ("max_by(`[1]`, &x)", "max_by() can only fail: it takes a number or a text"),
        ('abs(sort(`[1, "a"]`) | [0])', "sort() can only fail"),
        ("attributes.a && abs('x')", "abs() can only fail"),
        ("&a", "has & where no function takes an expression"),
        ("[a, &b]", "has & where no function takes an expression"),
        ("a || &b", "has & where no function takes an expression"),
        ("attributes.a[::0]", "has a slice with a step of 0"),
        ("`NaN`", "holds a number beyond the range of a double"),
        ("[`1e999`]", "holds a number beyond the range of a double"),
        ('`{"a": "\\ud83d"}`', "holds half a surrogate pair"),
        ("x" * (MAX_LENGTH + 1), f"is longer than {MAX_LENGTH} characters"),
        ("(" * 900 + "a" + ")" * 900, "is nested deeper than"),
        ("!" * 1999 + "a", "is nested deeper than"),
        (" | ".join(["@"] * (MAX_DEPTH + 1)), f"is nested deeper than {MAX_DEPTH} levels"),
        (f"[{','.join('a' * MAX_NODES)}]", f"has more than {MAX_NODES} parts"),
        (" | ".join(["[@, @]"] * 60), "whatever the profile"),
        (" | ".join(["{a: @, b: @}"] * 40), "whatever the profile"),
        (" | ".join(["attributes.tags", *["[@, @]"] * 25]), "whatever the profile"),
        (" | ".join(["attributes.tags", *["[@, @]"] * 25, *["[]"] * 25]), "whatever the profile"),
        (" | ".join(["attributes.tags", *["map(&join('', [@, @]), @)"] * 25]), "whatever the profile"),
        (" | ".join(["attributes.name", *["join('', [@, @])"] * 25]), "whatever the profile"),
        (" | ".join(["attributes.name", *["to_string([@])"] * 25]), "whatever the profile"),
        (" | ".join(["attributes.orders[?a == `1`]", *["[*].[@, @][]"] * 25]), "whatever the profile"),
    ]
    for text, reason in table:
        with example(text, reason):
            with pytest.raises(ValueError) as caught:
                compiled(text)
            assert reason in str(caught.value)


def test_a_reason_repeats_no_literal_and_no_name_of_a_key() -> None:
    for text in ("join('s3cret', `1`)", "s3cret[?", 'sum(`["s3cret"]`)', "attributes.s3cret.join(@)"):
        with pytest.raises(ValueError) as caught:
            compiled(text)
        assert "s3cret" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@given(st.text("ab.[]()|&@!*?:,'`\"{}<=> 019-\\\u00e9", max_size=30) | st.text(max_size=30))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        expression = compiled(text)
    except ValueError:
        return
    with suppress(Unfit):
        json.dumps(expression.value(KIM))


def test_what_one_profile_does_not_fit_is_unfit_and_says_nothing_of_it() -> None:
    table: list[str] = [
        "join(' ', [attributes.firstName, attributes.middleName])",
        "contains(attributes.interests, 'golf') && 'yes' || 'no'",
        "length(attributes.nothing)",
        "sort_by(attributes.orders, &missing)",
        "sum(attributes.orders[].amount)",
        "max(attributes.tags)",
        "abs(attributes.email)",
        "merge(attributes.address, attributes.email)",
        "merge(attributes.email)",
        "keys(attributes.tags)",
        "to_number(attributes.email) | abs(@)",
        "attributes.orders[].amount | sort(@)",
    ]
    for text in table:
        with example(text):
            with pytest.raises(Unfit) as caught:
                value(text)
            assert "kim" not in str(caught.value).lower()


def test_a_missing_value_never_becomes_a_word() -> None:
    table: list[tuple[str, Any]] = [
        ("to_string(attributes.missing)", None),
        ("to_string(attributes.score)", "1001"),
        ("to_string(attributes.address)", '{"city":"Ulm","floor":3}'),
        ("to_string(attributes.tags)", '["x","y"]'),
        ("to_string([attributes.missing, attributes.firstName])", '["Kim"]'),
        ("to_string({a: attributes.missing})", "{}"),
        ("to_string(`true`)", "true"),
        ("to_string('\u00e9')", "\u00e9"),
        ("to_string(['\u00e9'])", '["\u00e9"]'),
        ("to_string(to_number('1e999'))", None),
        ("type(attributes.missing)", None),
        ("type(attributes.email)", "string"),
        ("type(attributes.missing) == 'null'", True),
        ("not_null(attributes.missing)", None),
        ("to_array(attributes.missing)", [None]),
        ("to_number(attributes.missing)", None),
        ("to_number('1_000')", None),
        ("to_number('nan')", None),
        ("to_number('\u0661')", None),
        ("to_number(' 12 ')", 12),
        ("to_number('007')", 7),
        ("to_number('-1.5e1')", -15.0),
        ("to_number('9007199254740993')", 9007199254740993),
        ("attributes.missing.length(@) || 'x'", "unfit"),
        ("attributes.orders[?amount > `1`].sku", ["b"]),
        ("attributes.email < `1`", None),
        ("`1` == `true`", False),
    ]
    for text, result in table:
        with example(text, result):
            try:
                assert value(text) == result
            except Unfit:
                assert result == "unfit"


def hostile_view() -> dict[str, Any]:
    deep: Any = 1
    for _ in range(30):
        deep = [deep]
    attributes = {
        "objects": [{"a": index, "b": [index] * 3, "s": f"x{index}"} for index in range(10_000)],
        "numbers": list(range(10_000)),
        "texts": [f"t{index}" for index in range(10_000)],
        "text": "x" * 300_000,
        "same": ["y" * 100] * 3000,
        "nested": [[[list(range(8)) for _ in range(10)] for _ in range(10)] for _ in range(10)],
        "deep": deep,
    }
    return {"source": "shop", "identities": {}, "attributes": attributes}


HOSTILE = hostile_view()
DOUBLED = " | ".join(["attributes.numbers", *["[@,@]"] * 10])


def test_what_grows_is_stopped_well_within_a_second() -> None:
    table: list[str] = [
        DOUBLED,
        f"{DOUBLED} | to_string(@)",
        f"{DOUBLED} | contains(@, @)",
        f"({DOUBLED}) == ({DOUBLED})",
        f"{DOUBLED} | reverse(@)",
        f"{DOUBLED}{' | []' * 10}",
        f"{DOUBLED} | {{a: @, b: @}}",
        f"{DOUBLED} | merge({{a: @}}, {{b: @}})",
        f"{DOUBLED} | map(&[@,@], @)",
        "join(attributes.text, attributes.texts)",
        "join(attributes.text, map(&'x', attributes.texts))",
        "map(&[@,@,@,@], attributes.objects)",
        "map(&map(&[@,@], b), attributes.objects)",
        "attributes.objects[*].[@,@,@][*][*]",
        "attributes.objects[*].to_string(@)",
        "sort_by(attributes.objects, &to_string(@))",
        "join('', attributes.objects[*].to_string(@))",
        "map(&join(',', [@,@,@,@,@,@,@,@]), attributes.same)",
        " | ".join(["attributes.same", *["map(&join('',[@,@,@,@]), @)"] * 5]),
        " | ".join(["attributes.text", *["join('',[@,@])"] * 8]),
        " | ".join(["attributes.text", *["to_string([@])"] * 8]),
        " | ".join(["attributes.texts", *["[*].reverse(@)"] * 20]),
        "attributes.nested[*][*][*].[@,@,@,@]",
        "attributes.nested" + "[*][*].[@,@]" * 6,
        "merge(attributes, attributes, attributes)",
        "attributes.objects",
        "attributes.text",
        "attributes",
        "reverse(attributes.text)",
    ]
    for text in table:
        with example(text):
            expression = compiled(text)
            before = time.process_time()
            with pytest.raises(Unfit, match="takes more than"):
                expression.value(HOSTILE)
            assert time.process_time() - before < 1


def test_after_one_that_was_stopped_the_others_are_worked_out() -> None:
    with pytest.raises(Unfit):
        value(DOUBLED, HOSTILE)
    assert value("join(' ', [attributes.firstName, attributes.lastName])") == "Kim Lee"


def test_large_profiles_are_within_the_bounds() -> None:
    table: list[tuple[str, Any]] = [
        ("sort(attributes.texts)[0]", "t0"),
        ("max_by(attributes.objects, &a).s", "x9999"),
        ("sort_by(attributes.objects, &a)[0].s", "x0"),
        ("attributes.objects[?a == `7`].s | [0]", "x7"),
        ("attributes.objects[::-1] | [0].s", "x9999"),
        ("sum(attributes.numbers)", 49995000),
        ("length(attributes.text)", 300_000),
        ("contains(attributes.texts, 't77')", True),
        ("attributes.deep" + "[]" * 29, [1]),
    ]
    for text, result in table:
        with example(text, result):
            assert value(text, HOSTILE) == result


def test_the_longest_and_the_deepest() -> None:
    codes = [f"a == '{number:03}' && 'name {number:03}'" for number in range(50)]
    assert value(" || ".join(codes), {"a": "007"}) == "name 007"
    assert value(" | ".join(["@"] * (MAX_DEPTH - 1)), {"a": 1}) == {"a": 1}
    assert value("a", {"a": "x" * (MAX_CHARACTERS - 3)}) == "x" * (MAX_CHARACTERS - 3)


def test_the_examples_of_the_page_on_mappings() -> None:
    page = (Path(__file__).parents[3] / "docs" / "mappings.md").read_text()
    profile = json.loads(re.findall(r"```json\n(.*?)```", page, re.DOTALL)[0])
    table = page.partition("| to get | write |")[2].partition("\n\n")[0]
    cells = [line.split(" | ")[1].removesuffix(" |").strip("`") for line in table.splitlines()[2:]]
    examples = [cell.replace("\\|", "|") for cell in cells]
    assert [value(example, profile) for example in examples if "number" not in example] == [
        *("Kim", "kim@example.com", "Kim Lee", "Kim Lee", "elsewhere", "no", "a"),
    ]
    profile["attributes"] = {"firstName": "Kim", "number": 7.0}
    assert [value(example, profile) for example in examples if "[?@]" in example or "number" in example] == [
        "Kim",
        "No. 7",
    ]


def test_an_expression_is_compiled_once() -> None:
    assert compiled("attributes.email") is compiled("attributes.email")


def test_the_paths_that_are_looked_up() -> None:
    table: list[tuple[str, list[str]]] = [
        ("attributes.email", ["attributes", "attributes.email"]),
        ("identities.crm[0]", ["identities", "identities.crm"]),
        (
            "join(' ', [attributes.a, attributes.b.c])",
            ["attributes", "attributes.a", "attributes.b", "attributes.b.c"],
        ),
        ("attributes | {x: a, y: b}", ["attributes", "attributes.a", "attributes.b"]),
        ("attributes.orders[?at > 'x'].sku | [0]", ["attributes", "attributes.orders"]),
        ("sort_by(attributes.orders, &at)[-1].sku", ["attributes", "attributes.orders"]),
        ("attributes.*.x", ["attributes"]),
        ("a || b && !c", ["a", "b", "c"]),
        ("'text'", []),
        ("@", []),
    ]
    for text, paths in table:
        with example(text, paths):
            assert [".".join(path) for path in compiled(text).paths] == paths


# The library is the model: where it gives a value, and nothing of the stated differences is involved, so do we.

names = st.sampled_from(["a", "b", "c"])
data = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b", "10"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)
leaves = names | st.sampled_from(["@", "'a'", "`1`", "`[1, 2]`", '`["a", "b"]`', "`null`", "`{}`", "`true`"])
OF_ONE = [
    *("length({})", "keys({})", "values({})", "sort({})", "sum({})", "max({})", "reverse({})", "to_array({})"),
    *("not_null({}, b)", "abs({})", "avg({})", "join('-', {})", "map(&a, {})", "sort_by({}, &a)", "min_by({}, &b)"),
    *("!{}", "({})[]", "({})[0]", "({})[-1]", "({})[:2]", "({})[*].a", "({}).*", "({})[?a]", "({})[?b == `1`]"),
    *("({}).a.b", "type({}) == 'null'"),
]
OF_TWO = [
    *("({}) || ({})", "({}) && ({})", "({}) == ({})", "({}) != ({})", "({}) | ({})", "[{}, {}]"),
    *("{{x: {}, y: {}}}", "contains({}, {})", "starts_with({}, {})", "merge({}, {})"),
]


def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    of_one = st.builds(str.format, st.sampled_from(OF_ONE), inner)
    return of_one | st.builds(str.format, st.sampled_from(OF_TWO), inner, inner)


def library_value(text: str, view: dict[str, Any]) -> Any:
    try:
        return jmespath.search(text, view)
    except (ValueError, TypeError, AttributeError):
        return Unfit


@given(st.recursive(leaves, larger, max_leaves=6), st.dictionaries(names, data, max_size=3))
def test_a_value_is_what_the_library_makes_of_it(text: str, view: dict[str, Any]) -> None:
    try:
        expression = compiled(text)
    except ValueError as refused:
        assume("can only fail" not in str(refused))
        raise
    try:
        found = expression.value(view)
    except Unfit:
        found = Unfit
    assert found == library_value(text, view)
