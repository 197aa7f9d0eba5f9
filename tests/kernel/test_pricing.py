"""Every price model by known answers and by properties."""

from decimal import Decimal
from fractions import Fraction

import pytest
from billing_tools.pricing import Bracket, Price, evaluate
from hypothesis import assume, given
from hypothesis import strategies as st

D = Decimal
MODELS = ["flat", "per_unit", "graduated", "volume", "package", "stairstep", "percentage"]
BRACKETS = (
    Bracket(D(100), D("0.50"), D(10)),
    Bracket(D(200), D("0.40"), D(5)),
    Bracket(D(0), D("0.30"), D(0)),
)


def short(steps):
    return [(step.kind, str(step.quantity), str(step.unit_amount)) for step in steps]


# --- known answers ---


@pytest.mark.parametrize(
    ("price", "quantity", "amount"),
    [
        (Price("flat", D(30)), "7", "30"),
        (Price("flat", D(30)), "0", "30"),
        (Price("flat", D(-30)), "1", "-30"),
        (Price("per_unit", D("1.25")), "3", "3.75"),
        (Price("per_unit", D("1.25")), "-3", "-3.75"),
        (Price("per_unit", D("0.0001")), "0.5", "0.00005"),
        (Price("graduated", brackets=BRACKETS), "0", "10"),
        (Price("graduated", brackets=BRACKETS), "100", "60"),
        (Price("graduated", brackets=BRACKETS), "101", "65.40"),
        (Price("graduated", brackets=BRACKETS), "100.5", "65.20"),
        (Price("graduated", brackets=BRACKETS), "250", "120"),
        (Price("volume", brackets=BRACKETS), "0", "10"),
        (Price("volume", brackets=BRACKETS), "100", "60"),
        (Price("volume", brackets=BRACKETS), "101", "45.40"),
        (Price("volume", brackets=BRACKETS), "250", "75"),
        (Price("stairstep", brackets=BRACKETS), "0", "10"),
        (Price("stairstep", brackets=BRACKETS), "100", "10"),
        (Price("stairstep", brackets=BRACKETS), "100.01", "5"),
        (Price("stairstep", brackets=BRACKETS), "1000", "0"),
        (Price("package", D(5), package_size=D(100)), "0", "0"),
        (Price("package", D(5), package_size=D(100)), "0.1", "5"),
        (Price("package", D(5), package_size=D(100)), "100", "5"),
        (Price("package", D(5), package_size=D(100)), "101", "10"),
        (Price("package", D(5), package_size=D("0.5")), "1.2", "15"),
        (Price("percentage", D("0.08")), "1250", "100"),
        (Price("percentage", D("0.08")), "-50", "-4"),
        (Price("per_unit", D(2), minimum_amount=D(10)), "3", "10"),
        (Price("per_unit", D(2), minimum_amount=D(10)), "5", "10"),
        (Price("per_unit", D(2), minimum_amount=D(10)), "6", "12"),
    ],
)
def test_known_amounts(price, quantity, amount):
    assert evaluate(price, D(quantity))[0] == D(amount)


def test_graduated_reads_first_100_next_50():
    brackets = (Bracket(D(100), D("0.50")), Bracket(D(0), D("0.40")))
    amount, steps = evaluate(Price("graduated", brackets=brackets), D(150))
    assert amount == D(70)
    assert short(steps) == [("tier", "100", "0.50"), ("tier", "50", "0.40")]
    assert [(s.from_quantity, s.to_quantity) for s in steps] == [(0, 100), (100, None)]


def test_graduated_names_the_flat_amount_of_each_bracket_used():
    _amount, steps = evaluate(Price("graduated", brackets=BRACKETS), D(201))
    assert short(steps) == [
        ("tier", "100", "0.50"),
        ("tier_flat", "1", "10"),
        ("tier", "100", "0.40"),
        ("tier_flat", "1", "5"),
        ("tier", "1", "0.30"),
    ]


def test_volume_and_stairstep_name_their_bracket():
    _amount, steps = evaluate(Price("volume", brackets=BRACKETS), D(150))
    assert short(steps) == [("volume", "150", "0.40"), ("tier_flat", "1", "5")]
    _amount, steps = evaluate(Price("stairstep", brackets=BRACKETS), D(150))
    assert short(steps) == [("stairstep", "1", "5")]
    assert (steps[0].from_quantity, steps[0].to_quantity) == (100, 200)


def test_package_names_its_size():
    _amount, steps = evaluate(Price("package", D(5), package_size=D(100)), D(250))
    assert short(steps) == [("package", "3", "5")]
    assert steps[0].to_quantity == 100


def test_minimum_is_a_step_of_its_own():
    _amount, steps = evaluate(Price("per_unit", D(2), minimum_amount=D(10)), D(3))
    assert short(steps) == [("unit", "3", "2"), ("minimum", "1", "10")]
    assert [step.amount for step in steps] == [6, 4]
    _amount, steps = evaluate(Price("per_unit", D(2), minimum_amount=D(10)), D(5))
    assert short(steps) == [("unit", "5", "2")]


# --- refused ---


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "tiered"}, "Unknown price model 'tiered'"),
        ({"model": "flat", "minimum_amount": D(-1)}, "minimum is -1"),
        ({"model": "package", "package_size": D(0)}, "package size is 0"),
        ({"model": "package", "package_size": D(-5)}, "package size is -5"),
        ({"model": "graduated"}, "no bracket"),
        ({"model": "volume", "brackets": (Bracket(D(5)),)}, "last bracket goes up to 5"),
        (
            {"model": "stairstep", "brackets": (Bracket(D(5)), Bracket(D(5)), Bracket(D(0)))},
            "Bracket 2 goes up to 5, which is not above 5",
        ),
        (
            {"model": "graduated", "brackets": (Bracket(D(9)), Bracket(D(5)), Bracket(D(0)))},
            "Bracket 2 goes up to 5, which is not above 9",
        ),
        (
            {"model": "graduated", "brackets": (Bracket(D(0)), Bracket(D(0)))},
            "Bracket 1 goes up to 0",
        ),
        ({"model": "volume", "brackets": (Bracket(D(-1)), Bracket(D(0)))}, "Bracket 1 goes"),
    ],
)
def test_prices_without_meaning_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Price(**values)


@pytest.mark.parametrize("model", MODELS)
def test_what_a_model_does_not_read_is_not_checked(model):
    brackets = BRACKETS if model in ("graduated", "volume", "stairstep") else (Bracket(D(5)),)
    size = D(1) if model == "package" else D(0)
    assert evaluate(Price(model, D(1), size, D(0), brackets), D(1))


@pytest.mark.parametrize("model", MODELS)
def test_quantities_below_zero(model):
    price = Price(model, D(2), brackets=BRACKETS)
    if model in ("per_unit", "percentage"):
        assert evaluate(price, D(-3))[0] == -evaluate(price, D(3))[0]
    else:
        with pytest.raises(ValueError, match="quantity below 0"):
            evaluate(price, D(-1))
    with pytest.raises(ValueError, match="quantity below 0"):
        evaluate(Price(model, D(2), minimum_amount=D(1), brackets=BRACKETS), D(-1))


# --- properties ---

money = st.decimals(0, 10**6, places=6)
quantities = st.decimals(0, 10**9, places=4)


@st.composite
def prices(draw, models=MODELS):
    bounds = draw(st.lists(st.decimals("0.01", 10**6, places=2), max_size=4, unique=True))
    brackets = tuple(Bracket(up, draw(money), draw(money)) for up in [*sorted(bounds), D(0)])
    return Price(
        draw(st.sampled_from(models)),
        draw(money),
        draw(st.decimals("0.01", 10**4, places=2)),
        draw(st.just(D(0)) | money),
        brackets,
    )


def interesting(price):
    """Quantities at and around the edges of the price's brackets and packages."""
    bounds = [bracket.up_to for bracket in price.brackets] + [price.package_size]
    edges = [max(D(0), bound + by) for bound in bounds for by in (D("-0.01"), D(0), D("0.01"))]
    return quantities | st.sampled_from(edges)


@given(st.data(), prices())
def test_steps_add_up_to_the_amount(data, price):
    amount, steps = evaluate(price, data.draw(interesting(price)))
    assert steps
    assert sum(step.amount for step in steps) == amount
    for step in steps:
        if step.kind != "minimum":
            assert step.quantity * step.unit_amount == step.amount


@given(st.data(), prices())
def test_never_less_than_the_minimum(data, price):
    quantity = data.draw(interesting(price))
    without = Price(price.model, price.unit_amount, price.package_size, D(0), price.brackets)
    expected = max(price.minimum_amount, evaluate(without, quantity)[0])
    assert evaluate(price, quantity)[0] == expected


@given(st.data(), prices(["flat", "per_unit", "graduated", "package", "percentage"]))
def test_more_never_costs_less(data, price):
    """True by design but for volume and stairstep, whose price may fall at a bracket."""
    low, high = sorted((data.draw(interesting(price)), data.draw(interesting(price))))
    assert evaluate(price, low)[0] <= evaluate(price, high)[0]


@given(st.data(), prices(["stairstep"]))
def test_rising_stairs_never_fall(data, price):
    flats = sorted(bracket.flat_amount for bracket in price.brackets)
    brackets = tuple(
        Bracket(b.up_to, b.unit_amount, flat) for b, flat in zip(price.brackets, flats, strict=True)
    )
    price = Price("stairstep", brackets=brackets)
    low, high = sorted((data.draw(interesting(price)), data.draw(interesting(price))))
    assert evaluate(price, low)[0] <= evaluate(price, high)[0]


@given(st.data(), prices(["graduated"]))
def test_graduated_tiers_take_the_whole_quantity_once(data, price):
    quantity = data.draw(interesting(price))
    tiers = [step for step in evaluate(price, quantity)[1] if step.kind == "tier"]
    assert sum(step.quantity for step in tiers) == quantity
    for step in tiers:
        assert step.to_quantity is None or step.quantity <= step.to_quantity - step.from_quantity
    assert all(step.quantity > 0 for step in tiers) or quantity == 0


@given(st.data(), prices(["graduated", "volume"]))
def test_one_bracket_is_a_price_per_unit(data, price):
    quantity = data.draw(quantities)
    unit = price.brackets[-1].unit_amount
    single = Price(price.model, brackets=(Bracket(D(0), unit),))
    assert evaluate(single, quantity)[0] == evaluate(Price("per_unit", unit), quantity)[0]


@given(st.data(), prices(["package"]))
def test_packages_hold_the_quantity_and_none_is_empty(data, price):
    quantity = data.draw(interesting(price))
    packages = evaluate(price, quantity)[1][0].quantity
    assert packages == int(packages)
    assert packages * price.package_size >= quantity
    assert (packages - 1) * price.package_size < quantity or packages == 0


@given(st.data(), prices(["volume"]))
def test_volume_prices_the_whole_quantity_at_one_bracket(data, price):
    quantity = data.draw(interesting(price))
    fits = [b for b in price.brackets if not b.up_to or quantity <= b.up_to]
    assume(not price.minimum_amount)
    expected = quantity * fits[0].unit_amount + fits[0].flat_amount
    assert evaluate(price, quantity)[0] == expected


def test_amounts_are_exact_beyond_28_digits():
    quantity, unit = D("123456789012345.6789"), D("0.123456789012345678901")
    amount = evaluate(Price("per_unit", unit), quantity)[0]
    assert Fraction(amount) == Fraction(quantity) * Fraction(unit)
