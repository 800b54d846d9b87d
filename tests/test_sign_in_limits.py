"""Password guessing is stopped without locking out the user.

Each address is in its own network. Mallory guesses, and Bob knows his password.
"""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from allauth.account.adapter import get_adapter
from django.conf import settings as site
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import connections
from django.test import Client, RequestFactory
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from collections_app.models import Run, User
from collections_app.people import devices, sign_in_limits
from collections_app.people.password_links import password_path
from collections_app.records.exports import sample
from collections_app.system import database
from tests.conftest import PASSWORD, signed_in
from tests.support import tools

LOGIN = "/accounts/login/"
BOB = "bob@example.com"
NEW_PASSWORD = "a violet umbrella in the rain"
REFUSED = re.compile(
    r"Too many failed sign-ins\. Try again in ([\w, ]+) \(at \d\d:\d\d UTC\), or reset your password\."
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def known_user(bob: User) -> User:
    """Create Bob, whose password is guessed."""
    return bob


class Clock:
    """The clock for counting attempts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed = 0.0
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + self.passed)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def at(address: str) -> Client:
    """Return a new browser at an address."""
    return Client(REMOTE_ADDR=address)


def sign_in(browser: Client, password: str = PASSWORD, email: str = BOB) -> Any:
    return browser.post(LOGIN, {"login": email, "password": password})


def gets_in(browser: Client, password: str = PASSWORD) -> bool:
    return bool(sign_in(browser, password).status_code == 302)


def guess(browser: Client, times: int, email: str = BOB) -> None:
    for _ in range(times):
        sign_in(browser, "wrong", email)


def attack(addresses: int, guesses: int = 5, network: str = "198.51.100") -> None:
    """Fail to sign in from many addresses, without loading the pages."""
    for number in range(addresses):
        request = RequestFactory().post(LOGIN, REMOTE_ADDR=f"{network}.{number}")
        for _ in range(guesses):
            with suppress(ValidationError):
                sign_in_limits.count(request, BOB).end()


def known(address: str = "192.0.2.1") -> Client:
    """Return a browser in which Bob has signed in and out."""
    browser = at(address)
    assert gets_in(browser)
    browser.post("/accounts/logout/")
    return browser


def refusal(response: Any) -> str:
    """Return how long the page says to wait, or "" if the sign-in wasn't refused."""
    found = REFUSED.search(response.content.decode())
    return found[1] if found else ""


# --- the guesser --------------------------------------------------------------------------------


def test_five_wrong_passwords_make_the_guesser_wait(clock: Clock) -> None:
    mallory = at("198.51.100.7")
    guess(mallory, 5)
    assert refusal(sign_in(mallory)) == "5 minutes"
    clock.passed = 250
    assert refusal(sign_in(mallory)) == "1 minute"
    clock.passed = 301
    assert gets_in(mallory)


def test_another_browser_at_the_guessers_address_is_refused_too() -> None:
    guess(at("198.51.100.7"), 5)
    assert refusal(sign_in(at("198.51.100.7")))


def test_the_guesser_has_twenty_guesses_a_day(clock: Clock) -> None:
    mallory = at("198.51.100.7")
    for _ in range(4):
        guess(mallory, 5)
        clock.passed += 301
    assert refusal(sign_in(mallory)) in {"23 hours, 39 minutes", "23 hours, 40 minutes"}


def test_the_case_of_the_email_address_makes_no_difference() -> None:
    mallory = at("198.51.100.7")
    for email in ("BOB@example.com", "Bob@Example.com", " bob@example.com", "bob@EXAMPLE.com", BOB):
        guess(mallory, 1, email)
    assert refusal(sign_in(mallory))


def test_an_address_that_tries_many_users_is_stopped() -> None:
    mallory = at("198.51.100.7")
    for number in range(10):
        guess(mallory, 1, f"user{number}@example.com")
    assert refusal(sign_in(mallory)) == "1 minute"


def test_an_ipv6_network_counts_as_one_address() -> None:
    for number in range(5):
        guess(at(f"2001:db8:1:2::{number}"), 1)
    assert refusal(sign_in(at("2001:db8:1:2:ffff::1")))
    assert gets_in(at("2001:db8:1:3::1"))


def test_ipv4_addresses_stay_distinct_if_we_listen_on_ipv6(rf: RequestFactory) -> None:
    guess(at("::ffff:198.51.100.7"), 5)
    assert refusal(sign_in(at("::ffff:198.51.100.7")))
    assert gets_in(at("::ffff:203.0.113.5"))
    assert get_adapter().get_client_ip(rf.get("/", REMOTE_ADDR="::ffff:198.51.100.7")) == "198.51.100.7"


def test_guessers_at_many_addresses_are_stopped_but_known_browsers_are_not(
    clock: Clock,
) -> None:
    browser = known()
    attack(addresses=39)
    assert gets_in(at("203.0.113.5"))
    attack(addresses=1, network="203.0.113")
    assert refusal(sign_in(at("203.0.113.5"))) == "1 hour"
    assert gets_in(browser)
    clock.passed = 3601
    assert gets_in(at("203.0.113.5"))


def test_refused_attempts_do_not_extend_the_wait_for_everyone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sign_in_limits._RATES, "email", "20/h/key")
    attack(addresses=3, guesses=10)
    assert gets_in(at("203.0.113.5"))


@pytest.mark.django_db(transaction=True)
def test_parallel_guesses_do_not_get_around_the_limit() -> None:
    def begin(_: int) -> bool:
        try:
            sign_in_limits.count(RequestFactory().post(LOGIN, REMOTE_ADDR="198.51.100.7"), BOB).end()
        except ValidationError:
            return False
        finally:
            connections.close_all()
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(begin, range(18))) <= 5


class SlowChecks:
    """Passwords take as long to check as in production. Counts the checks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        encode = MD5PasswordHasher.encode

        def slowly(hasher: MD5PasswordHasher, password: str, salt: str) -> str:
            self.count += 1
            database.release_connections()
            time.sleep(0.3)
            return encode(hasher, password, salt)

        monkeypatch.setattr(MD5PasswordHasher, "encode", slowly)


@pytest.fixture
def slow_checks(monkeypatch: pytest.MonkeyPatch) -> SlowChecks:
    return SlowChecks(monkeypatch)


def sign_in_at_once(*attempts: tuple[Client, str, str]) -> list[int]:
    """Send all attempts at the same time. Return the statuses of the responses."""

    def attempt(browser: Client, password: str, email: str) -> int:
        try:
            return int(sign_in(browser, password, email).status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(attempts)) as pool:
        return list(pool.map(attempt, *zip(*attempts, strict=True)))


@pytest.mark.django_db(transaction=True)
class TestInParallel:
    @pytest.fixture(autouse=True)
    def no_attempts(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Forget all attempts: these tests are not rolled back. On a busy machine, locks take longer."""
        monkeypatch.setattr("allauth.core.internal.ratelimit.CACHE_LOCK_WAIT_TIMEOUT", tools.PATIENCE)
        cache.clear()
        yield
        cache.clear()

    def test_right_passwords_are_not_refused(self, slow_checks: SlowChecks) -> None:
        browsers = [at("192.0.2.1") for _ in range(8)]
        assert sign_in_at_once(*[(browser, PASSWORD, BOB) for browser in browsers]) == [302] * 8

    def test_right_passwords_in_a_known_browser_are_not_refused(self, slow_checks: SlowChecks) -> None:
        browsers = [at("192.0.2.1") for _ in range(8)]
        cookies = known().cookies.output(header="", sep=";")
        for browser in browsers:
            browser.cookies.load(cookies)
        assert sign_in_at_once(*[(browser, PASSWORD, BOB) for browser in browsers]) == [302] * 8

    def test_right_passwords_of_many_users_at_an_address_are_not_refused(
        self, slow_checks: SlowChecks
    ) -> None:
        emails = [f"user{number}@example.com" for number in range(12)]
        for email in emails:
            User.objects.create_user(email, PASSWORD)
        attempts = [(at("192.0.2.1"), PASSWORD, email) for email in emails]
        assert sign_in_at_once(*attempts) == [302] * 12

    def test_wrong_passwords_are_checked_five_times(self, slow_checks: SlowChecks) -> None:
        wrong = [(at("192.0.2.1"), "wrong", BOB) for _ in range(10)]
        assert sign_in_at_once(*wrong) == [200] * 10
        assert slow_checks.count == 5
        assert refusal(sign_in(at("192.0.2.1")))

    def test_right_passwords_do_not_allow_more_wrong_ones(self, slow_checks: SlowChecks) -> None:
        attempts = [(at("192.0.2.1"), password, BOB) for password in (PASSWORD, "wrong") * 6]
        succeeded = sign_in_at_once(*attempts).count(302)
        assert slow_checks.count - succeeded == 5
        assert refusal(sign_in(at("192.0.2.1")))


def test_an_attempt_does_not_wait_for_one_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in_limits, "_WAIT_SECONDS", 0.2)
    request = RequestFactory().post(LOGIN, REMOTE_ADDR="192.0.2.1")
    for _ in range(5):
        sign_in_limits.count(request, BOB)
    assert refusal(sign_in(at("192.0.2.1"))) == "5 minutes"


def test_an_attempt_after_wrong_passwords_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(seconds: float) -> None:
        raise AssertionError("It waits.")

    monkeypatch.setattr("collections_app.people.sign_in_limits.time.sleep", wait)
    guess(at("192.0.2.1"), 5)
    assert refusal(sign_in(at("192.0.2.1")))


def test_a_browser_is_recognized_once_for_each_request(
    bob: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    request = RequestFactory().post(LOGIN)
    request.COOKIES = {name: morsel.value for name, morsel in known().cookies.items()}
    with django_assert_num_queries(1):
        assert devices.recognize(request, BOB)
        assert devices.recognize(request, f" {BOB.upper()}")


@pytest.mark.parametrize("email", [BOB, "nobody@example.com"])
def test_a_refusal_does_not_reveal_whether_a_user_exists(email: str) -> None:
    mallory = at("198.51.100.7")
    message = []
    for _ in range(6):
        page = sign_in(mallory, "wrong", email).content.decode()
        message.append(re.findall(r'role="alert">.*?<p>(.*?)</p>', page, re.DOTALL))
    assert message[:5] == [["Wrong email address or password. Try again, or reset your password."]] * 5
    assert REFUSED.fullmatch(message[5][0])


@pytest.mark.parametrize("email", [BOB, "nobody@example.com", "dora@example.com", "closed@example.com"])
def test_known_and_unknown_users_cost_the_same_hashing(email: str, monkeypatch: pytest.MonkeyPatch) -> None:
    User.objects.create_user("dora@example.com")  # she hasn't set a password yet
    User.objects.create_user("closed@example.com", PASSWORD, is_active=False)
    hashed: list[str] = []

    def encode(self: object, password: str, salt: str) -> str:
        hashed.append(password)
        return f"md5${salt}$x"

    monkeypatch.setattr(MD5PasswordHasher, "encode", encode)
    sign_in(at("198.51.100.7"), "wrong", email)
    assert len(hashed) == 1


# --- the user -----------------------------------------------------------------------------------


@pytest.mark.parametrize("guesses", [5, 35])
def test_a_known_browser_is_not_refused_because_of_guesses_from_its_address(
    guesses: int,
) -> None:
    browser = known()
    guess(at("192.0.2.1"), guesses)
    assert gets_in(browser)


def test_a_known_browser_has_five_guesses_itself(clock: Clock) -> None:
    browser = known()
    guess(browser, 5)
    assert refusal(sign_in(browser))
    assert gets_in(at("192.0.2.1"))
    clock.passed = 301
    assert gets_in(browser)


def test_a_browser_is_known_only_for_users_who_signed_in_there(eve: User) -> None:
    browser = known()
    guess(at("192.0.2.1"), 5, eve.email)
    assert refusal(sign_in(browser, PASSWORD, eve.email))
    guess(at("192.0.2.1"), 5)
    assert gets_in(browser)


def test_several_people_can_share_a_browser(eve: User) -> None:
    browser = known()
    assert sign_in(browser, PASSWORD, eve.email).status_code == 302
    browser.post("/accounts/logout/")
    guess(at("192.0.2.1"), 5)
    assert gets_in(browser)


def test_a_browser_stays_known_for_a_year(clock: Clock) -> None:
    browser = known()
    for days, is_known in ((364, True), (366, False)):
        clock.passed = days * 24 * 3600
        guess(at("192.0.2.1"), 5)
        response = sign_in(browser, "wrong")
        assert bool(refusal(response)) is not is_known


def test_the_cookie_reveals_nothing_and_is_sent_nowhere_else(settings: Settings, bob: User) -> None:
    settings.SESSION_COOKIE_SECURE = True
    browser = at("192.0.2.1")
    (cookie,) = (morsel for name, morsel in sign_in(browser).cookies.items() if name.startswith("device_"))
    assert cookie["httponly"]
    assert cookie["secure"]
    assert cookie["samesite"] == "Strict"
    assert cookie["path"] == LOGIN
    assert cookie["max-age"] == 365 * 24 * 3600
    assert "bob" not in f"{cookie.key}{cookie.value}"
    assert bob.password not in cookie.value


def test_over_plain_http_the_cookie_is_not_marked_secure() -> None:
    assert not [each for each in sign_in(at("192.0.2.1")).cookies.values() if each["secure"]]


@pytest.mark.parametrize("value", ["", "x", "0" * 32 + ":1vPabc:x", "é", "x" * 3000])
def test_a_forged_cookie_is_ignored(value: str) -> None:
    browser = known()
    (name,) = (name for name in browser.cookies if name.startswith("device_"))
    browser.cookies[name] = value
    guess(at("192.0.2.1"), 5)
    assert refusal(sign_in(browser))


def test_changing_the_password_forgets_all_other_browsers(bob: User) -> None:
    other, browser = known("192.0.2.1"), known("192.0.2.2")
    assert gets_in(browser)
    new = {"oldpassword": PASSWORD, "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    assert browser.post("/accounts/password/change/", new)["Location"] == "/profile/"
    browser.post("/accounts/logout/")
    for address in ("192.0.2.1", "192.0.2.2"):
        guess(at(address), 5)
    assert refusal(sign_in(other, NEW_PASSWORD))
    assert gets_in(browser, NEW_PASSWORD)


def test_a_password_reset_ends_the_wait(bob: User) -> None:
    browser = at("192.0.2.1")
    guess(browser, 5)
    set_password(browser, bob)
    assert gets_in(browser, NEW_PASSWORD)


def set_password(browser: Client, user: User) -> None:
    form = browser.get(password_path(user), follow=True)
    here = form.redirect_chain[-1][0]
    browser.post(here, {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD})


# --- what counts, and where it is counted -------------------------------------------------------


@pytest.mark.parametrize("method", ["get", "head", "options", "put"])
def test_only_a_post_counts(method: str) -> None:
    browser = at("192.0.2.1")
    for _ in range(35):
        getattr(browser, method)(LOGIN)
    assert gets_in(browser)


def test_opening_a_password_link_does_not_count(bob: User) -> None:
    browser = at("192.0.2.1")
    for _ in range(25):
        browser.head("/accounts/password/reset/key/1-x/")
    set_password(browser, bob)
    assert gets_in(browser, NEW_PASSWORD)


def test_opening_the_password_form_does_not_count(bob: User) -> None:
    browser = signed_in(bob)
    for _ in range(8):
        browser.head("/accounts/password/change/")
    assert browser.get("/accounts/password/change/").status_code == 200
    assert browser.post("/accounts/password/change/", {}).status_code == 200


@pytest.mark.parametrize("address", ["/accounts/password/change/", "/accounts/password/reset/key/1-x/"])
def test_a_flood_of_posts_gets_a_clear_page(bob: User, address: str) -> None:
    browser = signed_in(bob)
    responses = [browser.post(address, {}) for _ in range(21)]
    assert responses[0].status_code != 429
    assert responses[-1].status_code == 429
    assert "Too many attempts" in responses[-1].content.decode()


def test_viewing_many_runs_does_not_make_the_site_forget_guessers(monkeypatch: pytest.MonkeyPatch) -> None:
    mallory = at("198.51.100.7")
    guess(mallory, 5)
    monkeypatch.setattr(sample, "_sample", lambda run: sample.Sample())
    for number in range(400):
        sample.sample(Run(pk=number, updated_at=timezone.now()))
    assert refusal(sign_in(mallory))


def test_hundreds_of_guessers_do_not_make_the_site_forget_others() -> None:
    mallory = at("198.51.100.7")
    guess(mallory, 5)
    for number in range(400):
        cache.set(f"zzz-{number}", [time.time()], 300)
    assert refusal(sign_in(mallory))
    assert site.CACHES["default"]["OPTIONS"]["MAX_ENTRIES"] == 100_000  # type: ignore[index]
