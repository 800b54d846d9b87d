"""The page of a product in a browser."""

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, expect
from pytest_django.live_server_helper import LiveServer

from collections_app.models import Collection, User
from tests.conftest import signed_in
from tests.support.products import LAPTOP, MOUSE, make_tracked_run

pytestmark = pytest.mark.django_db(transaction=True)

START = datetime(2026, 6, 1, 3, tzinfo=UTC)


@pytest.mark.thorough
def test_the_arrow_keys_and_the_pointer_show_what_each_run_says(
    live_server: LiveServer, browser: Browser, laptops: Collection, bob: User
) -> None:
    for day, content in enumerate(([LAPTOP], [MOUSE], [LAPTOP | {"price": "$999.00"}])):
        make_tracked_run(laptops, content, at=START + timedelta(days=day))
    context = browser.new_context(base_url=live_server.url)
    cookies = signed_in(bob).cookies.items()
    context.add_cookies(
        [{"name": name, "value": morsel.value, "url": live_server.url} for name, morsel in cookies]
    )
    page = context.new_page()
    page.goto(f"/collections/{laptops.pk}/products/B01")
    shown, plot = page.locator(".price-chart output"), page.get_by_role("slider", name="Price over time")
    expect(shown).to_contain_text("Run 3, 3 Jun 2026: $ 999")
    plot.press("ArrowLeft")
    expect(shown).to_have_text("Run 2, 2 Jun 2026: not found")
    plot.press("Home")
    expect(plot).to_have_attribute("aria-valuetext", "Run 1, 1 Jun 2026: $ 1,299, in stock, Nile")
    plot.hover()
    expect(shown).to_contain_text("Run 2")
    plot.press("Home")
    plot.press("Enter")
    expect(page).to_have_url(f"{live_server.url}/collections/{laptops.pk}/runs/1/records/1")
    context.close()
