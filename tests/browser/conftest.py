import os

import pytest
from playwright.sync_api import expect, sync_playwright

import live

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session", autouse=True)
def server():
    if not live.URL:
        pytest.exit("There is no server to test: run make test-browser.", returncode=2)


@pytest.fixture(scope="session")
def company(server):
    return live.Company()


@pytest.fixture(scope="session")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or "/usr/bin/chromium", args=FLAGS
        )
        yield browser
        browser.close()


expect.set_options(timeout=30_000)


@pytest.fixture
def open_page(chromium, company, request):
    """open_page(login, **context) logs in and returns a page. A script error on any page fails the test."""
    contexts, errors = [], []

    def opened(login, **options):
        context = chromium.new_context(base_url=live.URL, **{"viewport": {"width": 1366, "height": 900}, **options})
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        if login:
            page.goto("/web/login")
            page.fill("input[name=login]", login)
            page.fill("input[name=password]", live.password(login))
            page.click("button[type=submit]")
            page.wait_for_url(lambda url: "/web/login" not in url)
        return page

    yield opened
    for number, context in enumerate(contexts):
        for page in context.pages:
            page.screenshot(path=live.RESULTS / f"{request.node.name}-{number}.png")
        context.close()
    assert errors == []
