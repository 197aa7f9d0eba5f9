import pytest

import live


@pytest.fixture(scope="session", autouse=True)
def server():
    if not live.URL:
        pytest.exit("There is no server to test: run make test-blackbox.", returncode=2)


@pytest.fixture(scope="session")
def company(server):
    return live.Company()


@pytest.fixture(scope="session")
def staff(company):
    """odoorpc sessions by role."""
    return {role: live.rpc(f"test-{role}") for role in live.ROLES}


@pytest.fixture(scope="session")
def portal(company):
    """Web sessions of the customers."""
    return {name: live.Web(f"test-{name}") for name in company.customers}


@pytest.fixture(scope="session")
def api(company):
    """JSON-2 clients by role, each with an API key made as a user makes one."""
    return {role: live.Json2(live.Web(f"test-{role}").make_api_key("tests")) for role in ("officer", "auditor")}
