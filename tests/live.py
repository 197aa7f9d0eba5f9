"""Ways to reach a running server: odoorpc, JSON-2, a web session, and the mails that it sent.

The server's address comes from the environment; `make test-blackbox` and `make test-browser` set it.
"""

import email
import email.policy
import os
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import odoorpc
import requests

URL = os.environ.get("BILLING_URL", "")
DATABASE = os.environ.get("BILLING_DB", "")
MAILS = Path(os.environ.get("BILLING_MAILS", "."))
RESULTS = Path(os.environ.get("BILLING_RESULTS", "."))
TIMEOUT = 120

ROLES = ("sales", "officer", "collector", "manager", "auditor")


def password(login):
    return f"{login}-secret-1"


def rpc(login, secret=None):
    """An odoorpc session."""
    address = urlsplit(URL)
    session = odoorpc.ODOO(address.hostname, port=address.port, timeout=TIMEOUT)
    session.login(DATABASE, login, secret or password(login))
    return session


class Web:
    """What a browser does, without a browser: a cookie, pages, calls of the web client."""

    def __init__(self, login=None, secret=None):
        self.session = requests.Session()
        if login:
            secret = secret or password(login)
            self.uid = self.json("/web/session/authenticate", db=DATABASE, login=login, password=secret)["uid"]
            self.secret = secret

    def json(self, path, **params):
        answer = self.session.post(URL + path, json={"params": params}, timeout=TIMEOUT).json()
        if "error" in answer:
            raise RuntimeError(answer["error"]["data"]["name"] + ": " + answer["error"]["data"]["message"])
        return answer["result"]

    def call(self, model, method, *args, **kwargs):
        return self.json(f"/web/dataset/call_kw/{model}/{method}", model=model, method=method, args=args, kwargs=kwargs)

    def get(self, path):
        return self.session.get(URL + path if path.startswith("/") else path, timeout=TIMEOUT)

    def make_api_key(self, name):
        """As in the user's preferences: name the key, confirm the password, read the key once."""
        description = self.call("res.users.apikeys.description", "create", {"name": name, "duration": "1"})
        check = self.call("res.users.apikeys.description", "make_key", [description])
        shown = self.call(
            "res.users.identitycheck", "run_check", [check["res_id"]], context={"password": self.secret}
        )
        return shown["context"]["default_key"]


class Json2:
    """The external API: POST /json/2/<model>/<method> with a key."""

    def __init__(self, key):
        self.headers = {"Authorization": f"bearer {key}", "X-Odoo-Database": DATABASE}

    def post(self, model, method, **body):
        return requests.post(f"{URL}/json/2/{model}/{method}", json=body, headers=self.headers, timeout=TIMEOUT)

    def call(self, model, method, **body):
        answer = self.post(model, method, **body)
        assert answer.status_code == 200, answer.text
        return answer.json()


def mails_to(address, subject="", patience=60):
    """The mails to ADDRESS whose subject contains SUBJECT; waits for the first one."""
    deadline = time.monotonic() + patience
    while True:
        found = []
        for path in sorted((MAILS / "new").glob("*")):
            mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            if address in str(mail["To"]) and subject in str(mail["Subject"]):
                found.append(mail)
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def attachments(mail, kind="application/pdf"):
    return [part.get_payload(decode=True) for part in mail.walk() if part.get_content_type() == kind]


def pdf_text(pdf):
    command = ["pdftotext", "-layout", "-", "-"]
    return subprocess.run(command, input=pdf, capture_output=True, check=True).stdout.decode()


def qr_codes(pdf, folder):
    """What the QR codes on the pages of a PDF say."""
    import zxingcpp
    from PIL import Image

    subprocess.run(["pdftoppm", "-r", "150", "-png", "-", str(folder / "page")], input=pdf, check=True)
    found = []
    for page in sorted(folder.glob("page*.png")):
        with Image.open(page) as image:
            found += [code.text for code in zxingcpp.read_barcodes(image)]
    return found


class Company:
    """What the tests bill with: staff of every role, two customers with portal access, something to sell."""

    def __init__(self):
        self.admin = rpc("admin", "admin")
        env = self.admin.env
        users = env["res.users"].with_context(no_reset_password=True)

        def group(xmlid):
            module, name = xmlid.split(".")
            [found] = env["ir.model.data"].search_read([("module", "=", module), ("name", "=", name)], ["res_id"])
            return found["res_id"]

        self.users = {
            role: users.create(
                {
                    "name": f"Test {role}",
                    "login": f"test-{role}",
                    "password": password(f"test-{role}"),
                    "email": f"{role}@staff.example.com",
                    "group_ids": [(6, 0, [group("base.group_user"), group(f"customer_billing.group_billing_{role}")])],
                }
            )
            for role in ROLES
        }
        self.customers = {}
        for name in ("alpha", "beta"):
            partner = env["res.partner"].create(
                {
                    "name": f"{name.title()} Trading Ltd",
                    "is_company": True,
                    "email": f"{name}@customer.example.com",
                    "street": "1 Test Street",
                    "city": "Testville",
                    "user_id": self.users["sales"] if name == "alpha" else False,
                }
            )
            users.create(
                {
                    "name": f"{name.title()} Trading Ltd",
                    "login": f"test-{name}",
                    "password": password(f"test-{name}"),
                    "partner_id": partner,
                    "group_ids": [(6, 0, [group("base.group_portal")])],
                }
            )
            self.customers[name] = partner
        company = env["res.users"].read([self.admin.env.uid], ["company_id"])[0]["company_id"][0]
        self.tax = env["account.tax"].create(
            {
                "name": "Test 10%",
                "amount": 10,
                "type_tax_use": "sale",
                "company_id": company,
                "price_include_override": "tax_excluded",
            }
        )
        exempt = env["account.tax"].create(
            {"name": "Test exempt", "amount": 0, "type_tax_use": "sale", "company_id": company}
        )
        products = env["product.product"]
        service = {"type": "service", "sale_ok": True, "list_price": 100}
        self.taxed = products.create({"name": "Test hosting", **service, "taxes_id": [(6, 0, [self.tax])]})
        self.untaxed = products.create({"name": "Test support", **service, "taxes_id": [(6, 0, [exempt])]})
        self.plan = env["billing.plan"].create(
            {
                "name": "Test monthly in advance",
                "interval": 1,
                "interval_unit": "month",
                "timing": "advance",
                "anchor": "start",
                "proration": "actual",
            }
        )

    def make_contract(self, session, customer, date_start, quantity=2):
        """An active contract: QUANTITY of a taxed item at 100, one exempt item at 30.50."""
        contract = session.env["billing.contract"].create(
            {
                "partner_id": self.customers[customer],
                "plan_id": self.plan,
                "date_start": date_start,
                "line_ids": [
                    (0, 0, {"product_id": self.taxed, "name": "Hosting", "quantity": quantity, "price_unit": 100.0}),
                    (0, 0, {"product_id": self.untaxed, "name": "Support", "quantity": 1, "price_unit": 30.5}),
                ],
            }
        )
        session.env["billing.contract"].browse(contract).action_activate()
        return contract
